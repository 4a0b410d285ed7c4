#!/bin/sh
# Installs relay from a release that "make dist" has made: a folder, or the same
# folder on a web server.
#
#   RELAY_DIST=https://downloads.example.com/relay/v1.0.0 sh install.sh
#   RELAY_DIST=./dist sh install.sh
#
# It takes the archive for this machine, refuses it when it is not what
# checksums.txt says, and puts relay into /usr/local/bin when that can be written,
# else into ~/.local/bin, or where RELAY_BIN says. With RELAY_SYSTEMD=yes it installs the
# units for systemd too, and settings to fill in; settings that are there stay as they
# are. Nothing else is changed, and nothing is started.
set -eu

fail() {
	printf 'install: %s\n' "$1" >&2
	exit 1
}

# fetch NAME FILE gets a file of the release.
fetch() {
	case $dist in
	https://*)
		if command -v curl >/dev/null 2>&1; then
			# Nor may a redirect lead away from HTTPS.
			curl --proto '=https' --tlsv1.2 -fsSL --retry 2 -o "$2" "$dist/$1" || return 1
		elif command -v wget >/dev/null 2>&1; then
			wget -q -O "$2" "$dist/$1" || return 1
		else
			fail "curl or wget is needed to download: install one of them"
		fi
		;;
	*) [ -f "$dist/$1" ] && cp "$dist/$1" "$2" ;;
	esac
}

sha256() {
	if command -v sha256sum >/dev/null 2>&1; then
		sha256sum <"$1"
	elif command -v shasum >/dev/null 2>&1; then
		shasum -a 256 <"$1"
	elif command -v sha256 >/dev/null 2>&1; then
		sha256 -q "$1"
	else
		fail "sha256sum, shasum or sha256 is needed to check the download: install one of them"
	fi | cut -d' ' -f1
}

# units ARCHIVE FOLDER BIN installs the units for a relay in BIN.
units() {
	[ "$os" = linux ] || fail "units for systemd are for Linux only: leave RELAY_SYSTEMD out"
	gzip -dc "$1" | tar -xf - -C "$work" "$2/deploy/systemd" || fail "the archive has no units for systemd"
	to=${DESTDIR:-}/etc
	mkdir -p "$to/systemd/system" "$to/relay" || fail "the units for systemd need root: say sudo, or leave RELAY_SYSTEMD out"
	for unit in relay.service relay-http.socket relay-https.socket; do
		sed "s|^ExecStart=/usr/local/bin/|ExecStart=$3/|" "$work/$2/deploy/systemd/$unit" >"$to/systemd/system/$unit" || fail "$unit cannot be written to $to/systemd/system"
	done
	if [ ! -e "$to/relay/relay.env" ]; then
		# Settings may hold keys of DNS providers, in time.
		(umask 077 && cp "$work/$2/deploy/systemd/relay.env" "$to/relay/relay.env") || fail "relay.env cannot be written to $to/relay"
	fi
	printf 'The units are in %s, the settings to fill in are %s\n' "$to/systemd/system" "$to/relay/relay.env"
}

main() {
	dist=${RELAY_DIST:-}
	dist=${dist%/}
	case $dist in
	'') fail "RELAY_DIST names no release: say RELAY_DIST=FOLDER-OR-URL sh install.sh; or build from a checkout with Go: make build && cp relay /usr/local/bin/" ;;
	http://*) fail "$dist is not protected on its way: give an https address, or download the folder and name that" ;;
	https://*) ;;
	*) [ -d "$dist" ] || fail "there is no folder $dist: RELAY_DIST is the folder, or the https address, with checksums.txt in it" ;;
	esac

	case $(uname -s) in
	Linux) os=linux ;;
	Darwin) os=darwin ;;
	FreeBSD) os=freebsd ;;
	*) fail "there is no release for $(uname -s) that this script could install: for Windows unpack the zip archive, else build from a checkout with make build" ;;
	esac
	case $(uname -m) in
	x86_64 | amd64) arch=amd64 ;;
	aarch64 | arm64) arch=arm64 ;;
	*) fail "there is no release for processors of the kind $(uname -m): build from a checkout with make build" ;;
	esac

	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM

	fetch checksums.txt "$work/checksums.txt" || fail "there is no checksums.txt in $dist: without it nothing is installed"
	# One line names the archive, and so the version. The name is used as a path, so
	# nothing but a plain one will do.
	name=$(sed -n "s/^[0-9a-f]\{64\}  \(relay_[A-Za-z0-9.+_-]*_${os}_${arch}\.tar\.gz\)\$/\1/p" "$work/checksums.txt")
	case $name in
	'') fail "checksums.txt in $dist names no archive for $os on $arch" ;;
	*'
'*) fail "checksums.txt in $dist names several archives for $os on $arch: is that the folder of one release?" ;;
	esac
	want=$(sed -n "s/^\([0-9a-f]\{64\}\)  $name\$/\1/p" "$work/checksums.txt")
	fetch "$name" "$work/$name" || fail "there is no $name in $dist"
	got=$(sha256 "$work/$name")
	[ "${got:-none}" = "$want" ] || fail "$name is not what checksums.txt says (it has $got, it should have $want): it is damaged or was tampered with, and nothing was installed"

	folder=${name%.tar.gz}
	gzip -dc "$work/$name" | tar -xf - -C "$work" "$folder/relay" || fail "$name cannot be unpacked"
	"$work/$folder/relay" version >/dev/null || fail "relay from $name does not run on this machine"

	bin=${RELAY_BIN:-}
	if [ -z "$bin" ]; then
		bin=/usr/local/bin
		[ -w "$bin" ] || bin=${HOME:?}/.local/bin
	fi
	mkdir -p "$bin" || fail "the folder $bin cannot be made: name another one with RELAY_BIN"
	if [ -n "${RELAY_SYSTEMD:-}" ]; then
		units "$work/$name" "$folder" "$bin"
	fi
	# Beside the old one and then over it: a relay that runs keeps its file, and
	# nobody ever finds half of one.
	if ! { cp "$work/$folder/relay" "$bin/.relay.new" && chmod 0755 "$bin/.relay.new" && mv -f "$bin/.relay.new" "$bin/relay"; }; then
		rm -f "$bin/.relay.new"
		fail "relay cannot be written to $bin: name another folder with RELAY_BIN"
	fi
	printf '%s is in %s\n' "$("$bin/relay" version)" "$bin/relay"
	case ":$PATH:" in
	*":$bin:"*) ;;
	*) printf 'That folder is not in your PATH. To add it:  export PATH="%s:%s"\n' "$bin" "\$PATH" ;;
	esac
}

# All of it has arrived when this line has.
main
