#!/usr/bin/env bash
# Makes sure that programs are there which tests drive but Go does not bring:
#   tools/needs.sh PROGRAM:DEBIAN-PACKAGE FILE:DEBIAN-PACKAGE ...
# A package without a program is named by a file of it, with its whole path.
# With root and apt-get the missing ones are installed, otherwise they are named.
# It never fails: a test that lacks its program says so itself.
set -uo pipefail

programs=() packages=()
for need in "$@"; do
	if [ ! -e "${need%%:*}" ] && ! command -v "${need%%:*}" >/dev/null; then
		programs+=("${need%%:*}")
		packages+=("${need#*:}")
	fi
done
[ ${#packages[@]} -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "installing Debian packages that tests use: ${packages[*]}"
	log=$(mktemp)
	if { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
		rm -f "$log"
		exit 0
	fi
	tail -n 5 "$log"
	rm -f "$log"
	echo "they could not be installed"
fi
echo "missing programs: ${programs[*]} (Debian packages: ${packages[*]}); tests that drive them will say so"
