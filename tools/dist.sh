#!/usr/bin/env bash
# Builds what is released: an archive and a bill of materials (CycloneDX) for each
# platform, install.sh, and checksums.txt.
#   tools/dist.sh [FOLDER]           # dist, unless another is named
#   TARGETS='linux/amd64' tools/dist.sh
#
# The same commit, built by the same Go, gives the same bytes, wherever it is checked
# out: no path of the machine is in a binary, and the archives are sorted, without
# owners, and as old as the commit (SOURCE_DATE_EPOCH).
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-dist}
version=${VERSION:-$(git describe --tags --always --dirty)}
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
targets=${TARGETS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64 freebsd/amd64 freebsd/arm64}

# What could change the bytes and is not in the commit.
export CGO_ENABLED=0 GOAMD64=v1 GOARM64=v8.0 GOFLAGS='' GOEXPERIMENT='' LC_ALL=C TZ=UTC
export SOURCE_DATE_EPOCH=$epoch
umask 022

tar=$(command -v gtar || command -v tar)
"$tar" --version 2>/dev/null | grep -q GNU || { echo "dist: the tar, sed and date of GNU are needed, for archives that are the same every time" >&2; exit 1; }
case $targets in *windows*) command -v zip >/dev/null || { echo "dist: zip is needed, for the archives for Windows" >&2; exit 1; } ;; esac

# licenses prints the licenses of what is in the binary for a platform.
licenses() {
	echo "relay contains the libraries below, and the standard library of Go. Their licenses:"
	{
		echo "Go $(go env GOROOT)"
		GOOS=$1 GOARCH=$2 go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' . | sort -u
	} | while read -r module folder; do
		found=
		for file in "$folder"/LICEN[SC]E* "$folder"/COPYING* "$folder"/NOTICE* "$folder"/PATENTS*; do
			[ -f "$file" ] || continue
			found=yes
			printf '\n==== %s: %s\n\n' "$module" "${file##*/}"
			cat "$file"
		done
		[ -n "$found" ] || { echo "dist: $module has no license" >&2; exit 1; }
	done
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The tool's own build must not be for a foreign platform.
go build -o "$work/cyclonedx" -modfile=tools/cyclonedx.mod -trimpath -buildvcs=false github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)
for target in $targets; do
	os=${target%/*} arch=${target#*/}
	name=relay_${version}_${os}_${arch}
	exe=
	[ "$os" != windows ] || exe=.exe
	echo "$name"
	folder=$work/$name
	mkdir "$folder"
	GOOS=$os GOARCH=$arch go build -trimpath -ldflags "-s -w -X github.com/relaytunnel/relay/internal/cli.Version=$version" -o "$folder/relay$exe" .
	cp README.md LICENSE "$folder/"
	licenses "$os" "$arch" >"$folder/THIRD-PARTY-LICENSES"
	if [ "$os" = linux ]; then
		mkdir -p "$folder/deploy/systemd"
		cp deploy/systemd/* "$folder/deploy/systemd/"
	fi
	"$work/cyclonedx" bin -json -noserial -version "$version" -output "$out/$name.cdx.json" "$folder/relay$exe" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
	# It is made as late as it likes; what it tells is as old as the commit.
	sed -i "s/^    \"timestamp\": \".*\"/    \"timestamp\": \"$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)\"/" "$out/$name.cdx.json"

	chmod -R u=rwX,go=rX "$folder"
	find "$folder" -exec touch -h -d "@$epoch" {} +
	if [ "$os" = windows ]; then
		(cd "$work" && find "$name" -type f | sort | zip -q -X -9 "$out/$name.zip" -@)
	else
		"$tar" -C "$work" --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -cf - "$name" | gzip -9n >"$out/$name.tar.gz"
	fi
	rm -rf "$folder"
done

sums() { if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }
cp install.sh "$out/"
(cd "$out" && sums install.sh relay_* >checksums.txt)
