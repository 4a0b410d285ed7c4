package relay_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/relaytunnel/relay/internal/relay"
)

var (
	label63 = strings.Repeat("a", 63)
	name253 = strings.Repeat(label63+".", 3) + strings.Repeat("b", 61)
)

func TestParseHost(t *testing.T) {
	tests := []struct{ in, want string }{ // want "": refused
		{"example.com", "example.com"},
		{"example.com:8080", "example.com"},
		{"example.com:1", "example.com"},
		{"example.com:65535", "example.com"},
		{"example.com.", "example.com"},
		{"example.com.:443", "example.com"},
		{"Shop.EXAMPLE.com:443", "shop.example.com"},
		{"localhost", "localhost"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"0xzz.example", "0xzz.example"},
		{"1.example", "1.example"},
		{"1a", "1a"},
		{name253, name253},
		{name253 + ".:80", name253},
		{"127.0.0.1", "127.0.0.1"},
		{"127.0.0.1:80", "127.0.0.1"},
		{"127.0.0.1.", "127.0.0.1"},
		{"[::1]", "[::1]"},
		{"[::1]:8080", "[::1]"},
		{"[2001:DB8:0:0::1]", "[2001:db8::1]"},
		{"[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.1]"},

		{"", ""},
		{".", ""},
		{":80", ""},
		{".:80", ""},
		{"example.com:", ""},
		{"example.com:0", ""},
		{"example.com:080", ""},
		{"example.com:65536", ""},
		{"example.com:99999999999999999999", ""},
		{"example.com:+80", ""},
		{"example.com:80a", ""},
		{"example.com:80:80", ""},
		{"example.com: 80", ""},
		{"example.com..", ""},
		{"example.com..:80", ""},
		{"example..com", ""},
		{".example.com", ""},
		{"-example.com", ""},
		{"example-.com", ""},
		{"example.com-", ""},
		{"example.-com", ""},
		{label63 + "a.com", ""},
		{name253 + "b", ""},
		{"user@example.com", ""},
		{"example.com/path", ""},
		{"example.com%2e", ""},
		{"example.com,evil.com", ""},
		{"example.com evil.com", ""},
		{" example.com", ""},
		{"example.com\t", ""},
		{"example.com\r\nX: y", ""},
		{"example.com\x00", ""},
		{"ex\x7fample.com", ""},
		{"under_score.com", ""},
		{"bücher.example", ""},
		{"example\u212acom", ""}, // the Kelvin sign folds to k
		{"example.com\xff", ""},
		{"*.example.com", ""},
		{`example.com\`, ""},
		{"127.1", ""},
		{"2130706433", ""},
		{"0x7f000001", ""},
		{"0X7F.0.0.1", ""},
		{"127.0.0.0x1", ""},
		{"0177.0.0.1", ""},
		{"10.0.0.256", ""},
		{"1.2.3.4.5", ""},
		{"a.1", ""},
		{"::1", ""},
		{"[::1", ""},
		{"[]", ""},
		{"[::1]x", ""},
		{"[::1]:", ""},
		{"[::1]:0", ""},
		{"[::1].", ""},
		{"[fe80::1%eth0]", ""},
		{"[fe80::1%25eth0]", ""},
		{"[127.0.0.1]", ""},
		{"[[::1]]", ""},
		{"a[::1]", ""},
	}
	for _, tt := range tests {
		got, err := relay.ParseHost(tt.in)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("ParseHost(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
		if err != nil && !errors.Is(err, relay.ErrInvalid) {
			t.Errorf("ParseHost(%q): %v is not ErrInvalid", tt.in, err)
		}
	}
}

func TestParseHostDoesNotAllocateForCanonicalHosts(t *testing.T) {
	for _, in := range []string{"shop.example.com", "shop.example.com:8443", "shop.example.com.", "10.0.0.1:80", "[2001:db8::1]:443"} {
		if n := testing.AllocsPerRun(100, func() { _, _ = relay.ParseHost(in) }); n != 0 {
			t.Errorf("ParseHost(%q) allocates %v times", in, n)
		}
	}
}

// One host has one form, however the visitor writes it.
func TestParseHostMapsAllSpellingsToOne(t *testing.T) {
	label := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?`)
	rapid.Check(t, func(t *rapid.T) {
		labels := append(rapid.SliceOfN(label, 0, 4).Draw(t, "labels"),
			rapid.StringMatching(`[a-z][a-z0-9]{0,10}`).Draw(t, "last"))
		host := strings.Join(labels, ".")

		spelled := []byte(host)
		for i := range spelled {
			if rapid.Bool().Draw(t, "upper") {
				spelled[i] = strings.ToUpper(string(spelled[i]))[0]
			}
		}
		in := string(spelled)
		if rapid.Bool().Draw(t, "dot") {
			in += "."
		}
		if rapid.Bool().Draw(t, "port") {
			in += ":" + strconv.Itoa(rapid.IntRange(1, 65535).Draw(t, "number"))
		}
		got, err := relay.ParseHost(in)
		if err != nil || got != host {
			t.Fatalf("ParseHost(%q) = %q, %v; want %q", in, got, err, host)
		}
	})
}

func TestParseHostHoldsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkHost(t, rapid.OneOf(
			rapid.StringMatching(`[a-zA-Z0-9.:\[\]%_@-]{0,40}`),
			rapid.StringMatching(`\[[0-9a-fA-F:.]{2,30}\](:[0-9]{1,5})?`),
			rapid.StringMatching(`[0-9]{1,3}(\.[0-9]{1,3}){0,4}\.?`),
			rapid.String(),
		).Draw(t, "host"))
	})
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"example.com", "A.b.:80", "[::1]:80", "127.0.0.1", "0x1", "a..b", "xn--a", "a,b", "[::FFFF:1.2.3.4]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkHost(t, s) })
}

// checkHost holds for every input whatever.
func checkHost(t interface{ Fatalf(string, ...any) }, in string) {
	got, err := relay.ParseHost(in)
	if err != nil {
		if got != "" || !errors.Is(err, relay.ErrInvalid) {
			t.Fatalf("ParseHost(%q) = %q, %v", in, got, err)
		}
		return
	}
	if again, err := relay.ParseHost(got); err != nil || again != got {
		t.Fatalf("ParseHost(%q) = %q, but of that %q, %v", in, got, again, err)
	}
	if got == "" || len(got) > 253 || strings.HasSuffix(got, ".") {
		t.Fatalf("ParseHost(%q) = %q", in, got)
	}
	allowed := "abcdefghijklmnopqrstuvwxyz0123456789-."
	if got[0] == '[' {
		allowed = "[]abcdef0123456789:."
	}
	if strings.Trim(got, allowed) != "" || strings.ContainsFunc(got, func(r rune) bool { return !strings.ContainsRune(allowed, r) }) {
		t.Fatalf("ParseHost(%q) = %q has a strange character", in, got)
	}
	if up, err := relay.ParseHost(strings.ToUpper(got)); err != nil || up != got {
		t.Fatalf("upper case of %q gives %q, %v", got, up, err)
	}
	if withPort, err := relay.ParseHost(got + ":8080"); err != nil || withPort != got {
		t.Fatalf("%q with a port gives %q, %v", got, withPort, err)
	}
}

func BenchmarkParseHost(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = relay.ParseHost("shop-ann.tunnel.example.com:8443")
	}
}
