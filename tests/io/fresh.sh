#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fresh.sh TEST_PROGRAM: writes checkpoints with PyTorch and reads them. Skipped (77) where no Python has PyTorch.
set -u
here=$(dirname "$0")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3 /usr/bin/python3; do
    "$python" "$here/make_pt.py" "$folder"
    status=$?
    [ $status -eq 77 ] && continue
    [ $status -eq 0 ] || exit 1
    "$1" "$folder"
    exit $?
done
exit 77
