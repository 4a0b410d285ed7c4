#!/usr/bin/env bash
# Runs a command that lists files which are not formatted, and fails when there
# are any.
set -euo pipefail

files=$("$@")
[ -z "$files" ] && exit 0
printf 'not formatted (make fmt does it):\n%s\n' "$files"
exit 1
