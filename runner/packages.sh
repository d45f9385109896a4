#!/bin/sh
# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

# Installs those Debian packages of packages.txt that are missing; `packages.sh --missing` only names them.
# `packages.sh --list FILE` takes another list.
set -eu

list=$(dirname "$0")/packages.txt
[ "${1:-}" = --list ] && list=$2
wanted=$(sed 's/#.*//' "$list")
if ! command -v dpkg-query >/dev/null; then
    echo "this is not a Debian system (no dpkg-query); install what corresponds to:" $wanted >&2
    exit 1
fi
# a name on the list may be one that another package provides: those stand on the lines of that package
installed=$(dpkg-query -W -f '${Package}:${db:Status-Status}, ${Provides}\n' 2>/dev/null |
    sed -n '/^[^:]*:installed, /{ s/:installed//; s/ *([^)]*)//g; s/, */\n/g; p; }')
missing=
for package in $wanted; do
    case "
$installed
" in
        *"
$package
"*) ;;
        *) missing="$missing $package" ;;
    esac
done
if [ "${1:-}" = --missing ]; then
    echo $missing
    exit 0
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=env
elif sudo -n true 2>/dev/null; then
    as_root='sudo -n env'
else
    echo "Debian packages are missing, and this user may not install them. Run this, then try again:" >&2
    echo "  sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing Debian packages:$missing"
apt="$as_root DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
$apt update </dev/null || echo "apt-get update failed; trying with the lists that are there" >&2
exec $apt install -y --no-install-recommends $missing </dev/null
