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

# What a browser loads before anything shows: what index.html names. The editor and
# the dashboard come later, when they are needed. 30 KB is what a phone on a slow
# network has in about a second.
most=30000
names=$(grep -oE '(src|href)="\./assets/[^"]+' "$out/index.html" | sed 's/.*assets.//')
while :; do # and what these import without waiting
	more=$(cd "$out/assets" && { echo "$names"; grep -ohE 'from *"\./[^"]+' $names || true; } | sed 's/.*\///' | sort -u)
	[ "$more" = "$names" ] && break
	names=$more
done
first=0
for name in $names; do first=$((first + $(gzip -9 -c "$out/assets/$name" | wc -c))); done
if [ "$first" -gt "$most" ]; then
	echo "the inspector's page loads $first bytes (gzipped) at first; $most is the most: load later what is not needed at once"
	exit 1
fi

if $check; then
	diff -r "$out" ../dist >"$log" || {
		cut -c1-200 "$log" | head -n 5
		echo "internal/inspector/dist is not what its sources give: make ui writes it"
		exit 1
	}
else
	rm -rf ../dist
	cp -r "$out" ../dist
	chmod 755 ../dist
fi
