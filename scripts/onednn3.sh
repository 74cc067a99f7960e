#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# onednn3.sh [DIR]: oneDNN 3.x (headers and library, GNU OpenMP) from the Python package index into DIR (default:
# build-onednn3), to build and test against the generation that Debian 12 does not have. Installs nothing.
set -eu

dir=${1:-$(dirname "$0")/../build-onednn3}
version=2023.2.0 # oneDNN 3.2: the last one packaged without a SYCL runtime
[ "$(cat "$dir/.version" 2>/dev/null)" != "$version" ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip -q download --no-deps --only-binary :all: -d "$work" \
    "onednn-cpu-gomp==$version" "onednn-devel-cpu-gomp==$version"
for wheel in "$work"/*.whl; do
    python3 -m zipfile -e "$wheel" "$work/unpacked"
done
mkdir -p "$dir/include" "$dir/lib"
cp -R "$work"/unpacked/*.data/data/include/. "$dir/include"
cp "$work"/unpacked/*.data/data/lib/libdnnl.so.3 "$dir/lib"
ln -sf libdnnl.so.3 "$dir/lib/libdnnl.so"
printf '%s\n' "$version" >"$dir/.version"
