#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install.sh CC CXX GENERATOR: installs into a folder of its own, builds examples/embed.c against it as C and as C++, by
# pkg-config and by find_package, and compares what the four programs print with `ldar embed --pool mean`.
set -eu
cc=$1
cxx=$2
generator=$3
source=$LDAR_SOURCE_DIR
if ! command -v "$cxx" >/dev/null || ! command -v pkg-config >/dev/null; then
    echo "skipped: needs a C++ compiler and pkg-config"
    exit 77
fi
work=$(cd "$(mktemp -d)" && pwd -P) # the program names its files without links
trap 'rm -rf "$work"' EXIT
prefix=$work/usr

cmake --install "$LDAR_BUILD_DIR" --prefix "$prefix" >/dev/null
pc=$(dirname "$(find "$prefix" -name ldar.pc)")
libdir=$(dirname "$pc")

# The prefix of this installation is not the configured one: pkg-config is told, find_package finds out.
flags() {
    PKG_CONFIG_PATH=$pc pkg-config --define-variable=prefix="$prefix" "$@" ldar
}
warnings="-Wall -Wextra -Wpedantic -Werror"
# shellcheck disable=SC2046,SC2086
{
    "$cc" -std=c17 $warnings $(flags --cflags) "$source/examples/embed.c" -o "$work/pkg-c" $(flags --libs)
    "$cxx" -std=c++17 $warnings -x c++ $(flags --cflags) "$source/examples/embed.c" -o "$work/pkg-cxx" $(flags --libs)
}
cmake -S "$source/tests/api/consumer" -B "$work/consumer" -G "$generator" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" -DEXAMPLE="$source/examples/embed.c" >"$work/log" ||
    { cat "$work/log"; exit 1; }
cmake --build "$work/consumer" >"$work/log" || { cat "$work/log"; exit 1; }

# The installed program makes the model and says what is right.
ldar=$prefix/bin/ldar
sequence=ACGTTGCATATAAAGGCGNNACGT
printf '>s\n%s\n' "$sequence" >"$work/s.fa"
"$ldar" init --preset 2m --seed 1 -o "$work/model.safetensors"
"$ldar" embed -q -m "$work/model.safetensors" "$work/s.fa" --pool mean -o "$work/mean.npy"
header=$(od -An -tu2 -j8 -N2 "$work/mean.npy")
od -An -tf4 -v -w4 -j$((10 + header)) "$work/mean.npy" >"$work/expected"

for program in pkg-c pkg-cxx consumer/embed-c consumer/embed-cxx; do
    LD_LIBRARY_PATH=$libdir "$work/$program" "$work/model.safetensors" "$sequence" >"$work/found"
    paste "$work/expected" "$work/found" | awk -v program="$program" '
        NF != 2 || ($1 - $2) ^ 2 > (1e-5 + 1e-5 * $1 * $1) ^ 2 { wrong++ }
        END { if (wrong || !NR) { print program ": " wrong + 0 " of " NR " values differ from ldar embed"; exit 1 } }'
done

# A program that fails says so and exits 1.
if LD_LIBRARY_PATH=$libdir "$work/pkg-c" "$work/model.safetensors" ACGJ 2>"$work/message"; then
    echo "embed took a letter that is no base"
    exit 1
fi
grep -q 'letter that is no base' "$work/message"

for file in share/man/man1/ldar.1 share/man/man1/ldar-embed.1 share/bash-completion/completions/ldar \
    share/ldar/published.json; do
    test -s "$prefix/$file" || { echo "not installed: $file"; exit 1; }
done

# The model that ships is found in the installed tree, wherever that is moved.
model=share/ldar/ldar-2m.safetensors
if [ -e "$source/models/ldar-2m.safetensors" ]; then
    cmp "$source/models/ldar-2m.safetensors" "$prefix/$model"
    mv "$prefix" "$work/moved"
    "$work/moved/bin/ldar" segment "$work/s.fa" 2>"$work/said" | grep -q "^# .* model $work/moved/$model sha256 "
    grep -q "the model that ships: $work/moved/$model\$" "$work/said"
else
    echo "not checked: models/ldar-2m.safetensors is not there to install"
fi
