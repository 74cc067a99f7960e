#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# arm64-sysroot.sh [DIR]: an AArch64 root with all that ldar links against, from the Debian or Ubuntu mirrors of this
# machine, for the preset arm64. Needs no root and changes nothing outside DIR (default: build-sysroot-arm64).
set -eu

dir=${1:-$(dirname "$0")/../build-sysroot-arm64}
packages="libc6-dev libgomp1 libjansson-dev libzip-dev zlib1g-dev libhts-dev liblbfgs-dev libbigwig-dev
    libcmocka-dev"

if [ "$(cat "$dir/.packages" 2>/dev/null)" = "$packages" ]; then
    exit 0
fi
mkdir -p "$dir/usr/lib"
dir=$(cd "$dir" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# apt with a state of its own: the machine's package database learns nothing of a second architecture.
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
: >"$work/status"
cat >"$work/apt.conf" <<CONF
APT::Architecture "arm64";
APT::Architectures "arm64";
APT::Sandbox::User "";
Debug::NoLocking "true";
Dir::State::lists "$work/lists";
Dir::State::status "$work/status";
Dir::State::extended_states "$work/extended_states";
Dir::Cache "$work/cache";
CONF
export APT_CONFIG="$work/apt.conf"
apt-get -qq update
# shellcheck disable=SC2086
apt-get -qq -y --no-install-recommends --download-only install $packages >/dev/null

# /lib is a symbolic link on a merged-usr system; packages that still ship files there must follow it.
[ -e "$dir/lib" ] || ln -s usr/lib "$dir/lib"
for package in "$work"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$dir"
done
# Absolute links would lead into this machine's own root.
find "$dir" -type l -lname '/*' | while read -r link; do
    ln -sf "$dir$(readlink "$link")" "$link"
done
test -e "$dir/lib/ld-linux-aarch64.so.1"
printf '%s\n' "$packages" >"$dir/.packages"
