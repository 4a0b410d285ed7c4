package relay_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/relay"
)

func TestParseName(t *testing.T) {
	tests := []struct {
		in   string
		says string // part of the refusal; empty: accepted
	}{
		{"shop", ""},
		{"my-app", ""},
		{"a1", ""},
		{"42", ""},
		{"a-b--c", ""},
		{strings.Repeat("a", 63), ""},

		{"", "empty"},
		{"a", "too short"},
		{strings.Repeat("a", 64), "64 characters"},
		{strings.Repeat("a", 9999), "9999 characters"},
		{"Shop", "upper-case"},
		{"-shop", "begins with a hyphen"},
		{"shop-", "ends with a hyphen"},
		{"xn--shp-0na", "encoded names"},
		{"ab--cd", "encoded names"},
		{"ab--", "ends with a hyphen"},
		{"shop.example", "dot"},
		{"_dmarc", `'_'`},
		{"a b", `' '`},
		{"a/b", `'/'`},
		{"a\x00b", `'\x00'`},
		{"a\x1b[31m", `'\x1b'`},
		{"shöp", "outside ASCII"},
		{"ѕhop", "outside ASCII"}, // a Cyrillic letter that looks like s
	}
	for _, tt := range tests {
		got, err := relay.ParseName(tt.in)
		if tt.says == "" {
			if err != nil || string(got) != tt.in {
				t.Errorf("ParseName(%q) = %q, %v", tt.in, got, err)
			}
			continue
		}
		if !errors.Is(err, relay.ErrInvalid) || got != "" {
			t.Errorf("ParseName(%q) = %q, %v; want ErrInvalid", tt.in, got, err)
			continue
		}
		if !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "like my-app") {
			t.Errorf("ParseName(%q) says %q, want %q and what is allowed", tt.in, err, tt.says)
		}
		if len(err.Error()) > 250 || strings.ContainsAny(err.Error(), "\x00\x1b\n") {
			t.Errorf("ParseName(%.20q) says something unfit to be shown: %q", tt.in, err)
		}
	}
}

func TestReservedNamesAreThoseOthersTrust(t *testing.T) {
	for _, n := range []relay.Name{
		"www", "api", "admin", "relay", "mail", "smtp", "imap", "pop", "ns", "ns1", "ns2", "dns", "autodiscover",
		"autoconfig", "wpad", "isatap", "localhost", "status", "dashboard", "app-internal", "root", "postmaster",
		"webmaster", "hostmaster", "abuse", "security", "mta-sts",
		"adm1n", "1ogin", "l0gin", "log1n", "re1ay", "adrnin", "vvww", "r00t",
	} {
		if !relay.Reserved(n) {
			t.Errorf("%q is free", n)
		}
	}
	for _, n := range []relay.Name{"shop", "my-app", "www2", "api-ann", "modern", "admin-ann", "mall"} {
		if relay.Reserved(n) {
			t.Errorf("%q is reserved", n)
		}
	}
}

func TestUnderUser(t *testing.T) {
	tests := []struct {
		name relay.Name
		user string
		want bool
	}{
		{"ann", "ann", true},
		{"shop-ann", "ann", true},
		{"my-shop-ann", "ann", true},
		{"joann", "ann", false},
		{"ann-shop", "ann", false},
		{"shop", "ann", false},
		{"shop-", "", false},
		{"", "", false},
	}
	for _, tt := range tests {
		if got := tt.name.UnderUser(tt.user); got != tt.want {
			t.Errorf("%q.UnderUser(%q) = %v", tt.name, tt.user, got)
		}
	}
}
