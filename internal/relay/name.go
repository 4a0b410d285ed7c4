package relay

import (
	"fmt"
	"strings"
)

// A Name is the first label of a public host, for example "shop" in
// shop.example.com. A value made by ParseName is always a usable DNS label.
type Name string

const (
	minName = 2  // one letter is too easily mistyped into somebody else's
	maxName = 63 // the longest DNS label
)

// whatNamesAre is the second half of every refusal, so that one try tells all.
const whatNamesAre = "a name is 2 to 63 lower-case letters, digits and hyphens, like my-app"

// ParseName returns s as a Name, or an error of kind ErrInvalid that says in
// one sentence what is wrong and what is allowed. It changes nothing: upper
// case is refused, not folded, because the URL would differ from what was
// asked. It does not look at Reserved.
func ParseName(s string) (Name, error) {
	bad := func(why string) (Name, error) {
		// An over-long name is not repeated in full.
		shown := s
		if len(shown) > maxName {
			shown = shown[:maxName] + "..."
		}
		return "", fmt.Errorf("%w name %q: %s; %s", ErrInvalid, shown, why, whatNamesAre)
	}
	if s == "" {
		return bad("it is empty")
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-':
		case 'A' <= c && c <= 'Z':
			return bad("it has an upper-case letter")
		case c == '.':
			return bad("it has a dot, and is one label only")
		case c >= 0x80:
			return bad("it has a letter outside ASCII")
		default:
			return bad(fmt.Sprintf("it has the character %q", rune(c)))
		}
	}
	switch {
	case len(s) < minName:
		return bad("it is too short")
	case len(s) > maxName:
		return bad(fmt.Sprintf("it has %d characters", len(s)))
	case s[0] == '-':
		return bad("it begins with a hyphen")
	case s[len(s)-1] == '-':
		return bad("it ends with a hyphen")
	case len(s) >= 4 && s[2:4] == "--":
		// xn-- and its kin: such a label is shown to people as other letters.
		return bad("hyphens as third and fourth character are kept for encoded names")
	}
	return Name(s), nil
}

// UnderUser reports whether n belongs to the names that the user of that name
// holds without asking: the user's own name, or anything before "-" and it.
func (n Name) UnderUser(user string) bool {
	return user != "" && (string(n) == user || strings.HasSuffix(string(n), "-"+user))
}

// Reserved reports whether n may be held by no user: other programs look it up
// by themselves (mail, proxies, certificates), people trust it (support,
// login), or the product uses it; or because it looks like such a name.
func Reserved(n Name) bool {
	for _, looks := range n.looks() {
		if _, ok := reservedLooks[looks]; ok {
			return true
		}
	}
	return false
}

// LooksLike tells whether people take the names for one another: al1ce and alice.
func (n Name) LooksLike(other Name) bool {
	a, b := n.looks(), other.looks()
	return a[0] == b[0] || a[0] == b[1] || a[1] == b[0] || a[1] == b[1]
}

// looks gives the skeletons of a name, as UTS #39 has them for the few such pairs
// among what names are made of, and vv, which is one in most typefaces too. A 1 is
// read as l and as i.
func (n Name) looks() [2]string {
	return [2]string{likeL.Replace(string(n)), likeI.Replace(string(n))}
}

var (
	likeL = strings.NewReplacer("0", "o", "rn", "m", "vv", "w", "1", "l")
	likeI = strings.NewReplacer("0", "o", "rn", "m", "vv", "w", "1", "i")
)

var reservedLooks = func() map[string]struct{} {
	out := make(map[string]struct{}, 2*len(reserved))
	for n := range reserved {
		for _, looks := range n.looks() {
			out[looks] = struct{}{}
		}
	}
	return out
}()

// reserved is what Reserved refuses. Names with an underscore, such as
// _acme-challenge or _dmarc, are no names in the first place.
var reserved = set(
	// ours, now or later
	"www", "api", "admin", "relay", "app", "app-internal", "auth", "login", "logout", "signin", "signup",
	"sso", "oauth", "oidc", "account", "accounts", "dashboard", "console", "control", "status", "health",
	"metrics", "docs", "help", "blog", "cdn", "assets", "static", "internal", "local", "localhost",
	"localdomain", "test", "invalid", "example", "tunnel", "tunnels", "node", "cluster",
	// looked up by programs without being told to
	"wpad", "isatap", "autodiscover", "autoconfig", "mta-sts", "openpgpkey", "acme-challenge",
	"well-known", "broadcasthost", "gateway", "proxy", "teredo", "lyncdiscover", "lyncdiscoverinternal",
	"enterpriseregistration", "enterpriseenrollment", "sip", "sipinternal", "msoid",
	// services of a domain
	"mail", "email", "webmail", "smtp", "imap", "pop", "pop3", "mx", "mx1", "mx2", "ns", "ns1", "ns2",
	"ns3", "ns4", "dns", "dns1", "dns2", "ftp", "sftp", "ssh", "vpn", "ldap", "ntp", "time", "caldav",
	"carddav", "xmpp", "cpanel", "whm",
	// people and roles (RFC 2142, CA/Browser Forum validation addresses)
	"root", "administrator", "postmaster", "hostmaster", "webmaster", "abuse", "security", "noc",
	"support", "info", "sales", "marketing", "billing", "payments", "usenet", "news", "uucp", "ssladmin",
	"sysadmin", "it", "no-reply", "noreply", "mailer-daemon", "nobody", "system", "official",
)

func set(names ...Name) map[Name]struct{} {
	m := make(map[Name]struct{}, len(names))
	for _, n := range names {
		m[n] = struct{}{}
	}
	return m
}
