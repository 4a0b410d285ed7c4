#!/usr/bin/env bash
# Builds the inspector's page into internal/inspector/dist, which is committed so
# that a build of relay needs no Node:
#   tools/ui.sh           writes it
#   tools/ui.sh --check   fails when what is committed is not what a build gives
# On a machine of one's own without npm or a network, a check says so and passes.
set -euo pipefail
cd "$(dirname "$0")/../internal/inspector/ui"

check=false
[ "${1:-}" = --check ] && check=true

cannot() {
	echo "the inspector's page is not built: $1"
	if $check && [ -z "${CI:-}" ]; then exit 0; fi
	exit 1
}

command -v npm >/dev/null || cannot "npm is not installed"
log=$(mktemp) out=$(mktemp -d)
trap 'rm -rf "$log" "$out"' EXIT
# The tests install from the same lock and leave the same mark: see internal/relaytest.
if ! cmp -s package-lock.json node_modules/.installed-from; then
	npm ci >"$log" 2>&1 || { tail -n 5 "$log"; cannot "npm ci failed"; }
	cp package-lock.json node_modules/.installed-from
fi
npm run --silent check
npx --no-install vite build --logLevel warn --outDir "$out" --emptyOutDir
if $check; then
	diff -r "$out" ../dist >"$log" || {
		cut -c1-200 "$log" | head -n 5
		echo "internal/inspector/dist is not what its sources give: make ui writes it"
		exit 1
	}
else
	rm -rf ../dist
	cp -r "$out" ../dist
fi
