#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-headers.sh CC CXX [FLAG...]: each public header compiles alone as C17 and as C++17, each
# internal one as C17.
set -u
cc=$1
cxx=$2
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)
warnings="-Wall -Wextra -Wpedantic -Werror"
failed=0

# The header twice: its guard is tested with it.
compiles() { # HEADER COMPILER FLAG...
    header=$1
    shift
    # shellcheck disable=SC2086
    if ! printf '#include "%s"\n#include "%s"\nint compiled;\n' "$header" "$header" |
        "$@" $warnings -fsyntax-only -I"$root/include" -; then
        echo "$header: does not compile alone with $*"
        failed=1
    fi
}

for header in "$root"/include/ldar/*.h; do
    compiles "$header" "$cc" "$@" -std=c17 -x c
    compiles "$header" "$cxx" -std=c++17 -x c++
done
# The headers of simd/vec belong to one instruction set each and compile with its flags alone.
for header in "$root"/src/*.h "$root"/src/simd/*.h "$root"/src/io/*.h "$root"/src/model/*.h "$root"/src/cpu/*.h; do
    compiles "$header" "$cc" "$@" -std=c17 -D_POSIX_C_SOURCE=200809L -I"$root/src" -x c
done
exit $failed
