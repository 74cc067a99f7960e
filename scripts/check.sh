#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check.sh [quick]: installs what is missing, builds, and proves that the numbers are right. `quick`: the source laws,
# the build and its tests. Without: also clang, AArch64 under qemu, the sanitizers, oneDNN 3 and 10 seconds of each fuzz
# target (LDAR_FUZZ_SECONDS says how many). The fast stages come first; the last line counts passed, failed, skipped.
# LDAR_CHECK_FULL=1: whole models on every instruction set in the slow stages too (docs/testing.md).
set -u
cd "$(dirname "$0")/.." || exit 1

passed=0
failed=0
skipped=0
failures=
logs=build-check
jobs=$(nproc)
mkdir -p "$logs"

headline() {
    printf '\n== %s\n' "$*"
}

pass() {
    passed=$((passed + 1))
}

fail() { # WHAT [LOG]
    failed=$((failed + 1))
    failures="$failures
  $1"
    echo "FAILED: $1"
    [ $# -lt 2 ] || tail -n 40 "$2"
}

skip() { # WHY
    skipped=$((skipped + 1))
    echo "skipped: $1"
}

step() { # NAME COMMAND...: one check that passes or fails; its output is shown when it fails
    name=$1
    shift
    if "$@" >"$logs/step.log" 2>&1; then
        pass
    else
        fail "$name" "$logs/step.log"
        return 1
    fi
}

build() { # DIR TARGETS CMAKE-ARGUMENT...
    dir=$1
    targets=$2
    shift 2
    # shellcheck disable=SC2086
    step "configure $dir" cmake -B "$dir" -G Ninja "$@" && step "build $dir" cmake --build "$dir" --target $targets
}

attribute() { # NAME: of the first element of ctest's report
    sed -n "s/^[[:space:]]*$1=\"\([0-9]*\)\".*/\1/p" "$logs/tests.xml" | head -n 1
}

tests() { # DIR CTEST-ARGUMENT...
    dir=$1
    shift
    rm -f "$logs/tests.xml"
    ctest --test-dir "$dir" -j "$jobs" --output-on-failure --no-tests=error \
        --output-junit "$PWD/$logs/tests.xml" "$@" >"$logs/tests.log" 2>&1
    status=$?
    if [ ! -f "$logs/tests.xml" ]; then
        fail "ctest in $dir" "$logs/tests.log"
        return
    fi
    total=$(attribute tests) bad=$(attribute failures) omitted=$(attribute skipped)
    passed=$((passed + total - bad - omitted))
    failed=$((failed + bad))
    skipped=$((skipped + omitted))
    echo "$((total - bad - omitted)) passed, $bad failed, $omitted skipped"
    sed -n 's/.* - \(.*\) (Skipped)$/\1/p' "$logs/tests.log" | tr '\n' ' ' | fold -s -w 110 | sed 's/^/  skipped: /'
    [ "$omitted" -eq 0 ] || echo
    if [ "$status" -ne 0 ]; then
        grep -vE '^ *Start +[0-9]|   Passed |Skipped' "$logs/tests.log"
        failures="$failures
  $bad tests of $dir"
    fi
}

source_laws() {
    headline "source: the laws of the house, shell scripts"
    step "check-source.py" python3 scripts/check-source.py
    if command -v shellcheck >/dev/null; then
        step shellcheck shellcheck scripts/*.sh scripts/slurm/*.sbatch .ci/run tests/*/*.sh
    else
        skip "no shellcheck"
    fi
}

gcc_stage() {
    headline "gcc: build and all tests (build/)"
    build build all -S . -DLDAR_WERROR=ON -DLDAR_BUILD_PERF=ON && tests build
}

clang_stage() {
    headline "clang: build without a warning, kernel tests (build-clang/)"
    command -v clang >/dev/null || { skip "no clang"; return; }
    build build-clang all --preset clang && tests build-clang -R '^kernel'
}

arm64_stage() {
    headline "AArch64: cross build, kernel and golden tests under qemu (build-arm64/)"
    if ! command -v aarch64-linux-gnu-gcc >/dev/null || ! command -v qemu-aarch64 >/dev/null; then
        skip "no aarch64-linux-gnu-gcc or no qemu-aarch64"
        return
    fi
    sh scripts/arm64-sysroot.sh || { skip "the AArch64 packages cannot be had here"; return; }
    # Whole models take minutes without vectors, and those of bfloat16 are in model.golden.
    [ -n "${LDAR_CHECK_FULL:-}" ] || export LDAR_TEST_ISAS=neon
    build build-arm64 all --preset arm64 &&
        tests build-arm64 \
            -R '^((kernel\..*|model\.golden|api\.ops)\.neon(bf16)?|kernel\.select|api\.ops\.scalar|cli\.verify)$'
    unset LDAR_TEST_ISAS
}

asan_stage() {
    headline "AddressSanitizer and UndefinedBehaviorSanitizer: all tests but those under MPI (build-asan/)"
    # Under a launcher of MPI the sanitizer meets the launcher's and MPI's own memory; mpi.exchange has ours.
    excluded='^mpi\.(openmpi|mpich|pretrain)'
    if [ -z "${LDAR_CHECK_FULL:-}" ]; then
        # Around the kernels the code is one for all instruction sets but for the type: whole models and the program go
        # through a set of floats and one of bfloat16. The kernels of each set have tests of their own, and all run; so
        # the same bodies in double precision need not.
        excluded="$excluded|^model\..*\.(scalar|avx512)\$|^gradients\."
        export LDAR_TEST_ISAS="avx2 avx512bf16 neon neonbf16"
    fi
    build build-asan all --preset asan && tests build-asan -E "$excluded"
    unset LDAR_TEST_ISAS
}

tsan_stage() {
    headline "ThreadSanitizer: the tests that use threads (build-tsan/)"
    command -v clang >/dev/null || { skip "no clang"; return; }
    build build-tsan "test_model_threads race" --preset tsan && tests build-tsan -R 'threads'
}

onednn3_stage() {
    headline "oneDNN 3: build, golden files with every GEMM provider (build-onednn3/)"
    sh scripts/onednn3.sh build-onednn3/root || { skip "oneDNN 3 cannot be had here"; return; }
    build build-onednn3 test_model_golden -S . -DLDAR_WERROR=ON -DLDAR_WITH_ONEDNN=ON -DLDAR_BUILD_PROGRAM=OFF \
        -DDNNL_INCLUDE_DIR="$PWD/build-onednn3/root/include" -DDNNL_LIBRARY="$PWD/build-onednn3/root/lib/libdnnl.so" &&
        tests build-onednn3 -R '^model\.golden'
}

fuzz_stage() {
    seconds=${LDAR_FUZZ_SECONDS:-10}
    headline "fuzzing: $seconds s for each target (build-fuzz/)"
    command -v clang >/dev/null || { skip "no clang"; return; }
    names=$(ls tests/fuzz/corpus)
    build build-fuzz "$(echo "$names" | sed 's/^/fuzz_/')" --preset fuzz || return
    running=0
    for name in $names; do # as many at a time as there are processors
        mkdir -p "build-fuzz/corpus/$name"
        rm -f "$logs/fuzz-$name.passed"
        ("build-fuzz/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -malloc_limit_mb=64 \
            -print_final_stats=1 -artifact_prefix="build-fuzz/$name-" "build-fuzz/corpus/$name" \
            "tests/fuzz/corpus/$name" >"$logs/fuzz-$name.log" 2>&1 && touch "$logs/fuzz-$name.passed") &
        running=$((running + 1))
        [ $((running % jobs)) -ne 0 ] || wait
    done
    wait
    for name in $names; do
        if [ -f "$logs/fuzz-$name.passed" ]; then
            pass
            sed -n "s/^stat::number_of_executed_units: */$name: inputs tried: /p" "$logs/fuzz-$name.log"
        else
            fail "fuzz $name" "$logs/fuzz-$name.log"
        fi
    done
}

case ${1:-all} in
quick) stages="source_laws gcc_stage" ;;
all) stages="source_laws gcc_stage clang_stage arm64_stage onednn3_stage asan_stage tsan_stage fuzz_stage" ;;
*)
    echo "usage: check.sh [quick]" >&2
    exit 2
    ;;
esac

sh scripts/setup.sh check || exit 1
for stage in $stages; do
    start=$(date +%s)
    $stage
    echo "($(($(date +%s) - start)) s)"
done

[ -z "$failures" ] || printf '\nFailed:%s\n' "$failures"
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
