#!/usr/bin/env bash
# Builds the last commit twice, from two folders and as two users would, and compares:
#   tools/dist_test.sh
#   TARGETS='linux/amd64 windows/arm64' tools/dist_test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TARGETS=${TARGETS:-linux/amd64 windows/amd64}
for run in one another/place; do
	mkdir -p "$work/$run"
	git clone -q --no-hardlinks . "$work/$run/checkout"
done
(umask 077 && TZ=Asia/Tokyo "$work/one/checkout/tools/dist.sh" "$work/a")
(umask 022 && TZ=America/Lima GOFLAGS=-buildvcs=false "$work/another/place/checkout/tools/dist.sh" "$work/b")

diff -r "$work/a" "$work/b" || { echo "two builds of one commit differ" >&2; exit 1; }
(cd "$work/a" && sha256sum --quiet -c checksums.txt)
for archive in "$work"/a/*; do
	case $archive in
	*.tar.gz) list=$(tar -tzf "$archive") ;;
	*.zip) list=$(unzip -Z1 "$archive") ;;
	*) continue ;;
	esac
	for file in relay README.md LICENSE THIRD-PARTY-LICENSES; do
		grep -qE "/$file(\.exe)?\$" <<<"$list" || { echo "$archive has no $file" >&2; exit 1; }
	done
	case $archive in *_linux_*) grep -q '/deploy/systemd/relay.service$' <<<"$list" || { echo "$archive has no unit for systemd" >&2; exit 1; } ;; esac
done
if grep -rlaF "$work" "$work/a" || [ -n "$(cd "$work/a" && for f in *.tar.gz; do tar -xOzf "$f" | grep -aF "$HOME/" || :; done)" ]; then
	echo "a path of this machine is in a release" >&2
	exit 1
fi
echo "the same bytes, twice: $(wc -l <"$work/a/checksums.txt") files"
