#!/bin/sh
# Tries install.sh with releases that are good, damaged, incomplete or for others.
#   tools/install_test.sh            # with sh; SHELL_UNDER_TEST=dash for another
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
shell=${SHELL_UNDER_TEST:-sh}
case $(uname -m) in x86_64 | amd64) arch=amd64 ;; *) arch=arm64 ;; esac
os=$(uname -s | tr '[:upper:]' '[:lower:]')

# release FOLDER makes a release with a relay that only tells its version.
release() {
	name=relay_v1.2.3_${os}_${arch}
	mkdir -p "$1/$name"
	printf '#!/bin/sh\necho relay v1.2.3\n' >"$1/$name/relay"
	chmod +x "$1/$name/relay"
	mkdir "$1/$name/deploy"
	cp -r deploy/systemd "$1/$name/deploy/"
	tar -C "$1" -czf "$1/$name.tar.gz" "$name"
	rm -r "${1:?}/$name"
	(cd "$1" && sha256sum relay_* >checksums.txt)
}

# expect CODE PATTERN [VAR=VALUE...] runs install.sh: it must end with the code and say
# the pattern, and must leave nothing behind when it fails.
expect() {
	code=$1 pattern=$2
	shift 2
	rm -rf "${work:?}/bin" "${work:?}/tmp"
	mkdir "$work/tmp"
	got=0
	env RELAY_BIN="$work/bin" TMPDIR="$work/tmp" "$@" "$shell" ./install.sh >"$work/out" 2>&1 || got=$?
	if [ "$got" != "$code" ] || ! grep -q -- "$pattern" "$work/out"; then
		printf 'with %s: exit code %s, want %s with "%s"; it wrote:\n' "$*" "$got" "$code" "$pattern"
		cat "$work/out"
		exit 1
	fi
	if [ "$code" != 0 ] && [ -e "$work/bin/relay" ]; then
		echo "with $*: relay was installed in spite of the failure"
		exit 1
	fi
	if [ -n "$(ls -A "$work/tmp")" ]; then
		echo "with $*: something stayed behind"
		exit 1
	fi
}

# A machine of another kind: uname says what the variables say.
mkdir "$work/fake"
# shellcheck disable=SC2016 # these are for the fake
printf '#!/bin/sh\ncase $1 in -s) echo "$FAKE_OS" ;; *) echo "$FAKE_ARCH" ;; esac\n' >"$work/fake/uname"
chmod +x "$work/fake/uname"

release "$work/good"
expect 0 'relay v1.2.3 is in' RELAY_DIST="$work/good"
[ -x "$work/bin/relay" ] || { echo "relay is not executable"; exit 1; }
expect 0 'relay v1.2.3 is in' RELAY_DIST="$work/good/"
expect 0 'not in your PATH' RELAY_DIST="$work/good"

# Over one that runs, and without RELAY_BIN where /usr/local/bin is not ours.
mkdir -p "$work/home"
if [ ! -w /usr/local/bin ]; then
	expect 0 "$work/home/.local/bin/relay" RELAY_DIST="$work/good" RELAY_BIN= HOME="$work/home"
fi

# The units, for where relay is; settings are written once.
if [ "$os" = linux ]; then
	expect 0 'settings to fill in' RELAY_DIST="$work/good" RELAY_SYSTEMD=yes DESTDIR="$work/root"
	grep -q "^ExecStart=$work/bin/relay server" "$work/root/etc/systemd/system/relay.service" || { echo "the unit starts another relay"; exit 1; }
	[ -f "$work/root/etc/systemd/system/relay-https.socket" ] || { echo "there is no unit for the socket"; exit 1; }
	echo RELAY_DOMAIN=mine.example.com >"$work/root/etc/relay/relay.env"
	expect 0 'relay v1.2.3 is in' RELAY_DIST="$work/good" RELAY_SYSTEMD=yes DESTDIR="$work/root"
	grep -q mine "$work/root/etc/relay/relay.env" || { echo "settings were overwritten"; exit 1; }
fi

release "$work/corrupted"
printf 'x' >>"$work/corrupted/relay_v1.2.3_${os}_${arch}.tar.gz"
expect 1 'is not what checksums.txt says' RELAY_DIST="$work/corrupted"

release "$work/truncated"
: >"$work/truncated/relay_v1.2.3_${os}_${arch}.tar.gz"
expect 1 'is not what checksums.txt says' RELAY_DIST="$work/truncated"

release "$work/unsigned"
rm "$work/unsigned/checksums.txt"
expect 1 'there is no checksums.txt' RELAY_DIST="$work/unsigned"

release "$work/unnamed"
: >"$work/unnamed/checksums.txt"
expect 1 'names no archive' RELAY_DIST="$work/unnamed"

release "$work/short"
sed 's/^..../    /' "$work/short/checksums.txt" >"$work/short/new" && mv "$work/short/new" "$work/short/checksums.txt"
expect 1 'names no archive' RELAY_DIST="$work/short"

release "$work/escape"
sed 's| relay_| ../good/relay_|' "$work/escape/checksums.txt" >"$work/escape/new" && mv "$work/escape/new" "$work/escape/checksums.txt"
expect 1 'names no archive' RELAY_DIST="$work/escape"

release "$work/twice"
sed 's/v1\.2\.3/v1.2.4/' "$work/twice/checksums.txt" >>"$work/twice/checksums.txt.more"
cat "$work/twice/checksums.txt.more" >>"$work/twice/checksums.txt"
expect 1 'names several archives' RELAY_DIST="$work/twice"

release "$work/gone"
rm "$work/gone/"relay_*
expect 1 'there is no relay_v1.2.3' RELAY_DIST="$work/gone"

release "$work/broken"
name=relay_v1.2.3_${os}_${arch}
mkdir -p "$work/broken/$name"
printf '#!/bin/sh\nexit 1\n' >"$work/broken/$name/relay"
chmod +x "$work/broken/$name/relay"
tar -C "$work/broken" -czf "$work/broken/$name.tar.gz" "$name"
(cd "$work/broken" && sha256sum "$name.tar.gz" >checksums.txt)
expect 1 'does not run on this machine' RELAY_DIST="$work/broken"

expect 1 'no release for Plan9' RELAY_DIST="$work/good" PATH="$work/fake:$PATH" FAKE_OS=Plan9 FAKE_ARCH=x86_64
expect 1 'processors of the kind vax' RELAY_DIST="$work/good" PATH="$work/fake:$PATH" FAKE_OS=Linux FAKE_ARCH=vax
expect 1 'names no archive for freebsd on arm64' RELAY_DIST="$work/good" PATH="$work/fake:$PATH" FAKE_OS=FreeBSD FAKE_ARCH=aarch64
expect 1 'RELAY_DIST names no release' RELAY_DIST=
expect 1 'there is no folder' RELAY_DIST="$work/nowhere"
expect 1 'not protected on its way' RELAY_DIST=http://127.0.0.1:1/
if command -v curl >/dev/null || command -v wget >/dev/null; then
	expect 1 'there is no checksums.txt' RELAY_DIST=https://127.0.0.1:1/
fi
: >"$work/file"
expect 1 'name another' RELAY_DIST="$work/good" RELAY_BIN="$work/file/bin"
echo "install.sh: all as it should be"
