#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# setup.sh [build|check]: installs the Debian or Ubuntu packages that building ldar (default) or all its tests need.
# Does nothing when they are there; needs root, or sudo, only when one is missing.
set -eu

packages="gcc libc6-dev cmake ninja-build pkg-config python3 libjansson-dev libzip-dev zlib1g-dev libhts-dev
    liblbfgs-dev libbigwig-dev libdnnl-dev libcmocka-dev"
case ${1:-build} in
build) ;;
check)
    packages="$packages binutils g++ clang libomp-dev libopenblas-dev python3-pip bcftools samtools shellcheck
    libopenmpi-dev openmpi-bin libmpich-dev mpich tabix python3-pybigwig python3-sklearn"
    [ "$(uname -m)" != x86_64 ] || packages="$packages gcc-aarch64-linux-gnu qemu-user"
    ;;
*)
    echo "usage: setup.sh [build|check]" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "setup: no Debian system; see that these, or their likes, are installed: $packages" >&2
    exit 0
fi

missing=
for package in $packages; do
    case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
    *' installed') ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "setup: run as root: apt-get install$missing" >&2
        exit 1
    }
    root=sudo
fi
echo "setup: installing$missing"
$root apt-get -qq update
# shellcheck disable=SC2086
$root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing >/dev/null
