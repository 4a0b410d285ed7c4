package relay

import (
	"fmt"
	"net/netip"
	"strings"
)

// maxHost is the longest name that DNS carries, without its trailing dot.
const maxHost = 253

// ParseHost returns the one way to write the host in a Host header or an
// :authority. Every look-up by host is made with its result and never with
// what the visitor sent, so that no two parts of the server see two names.
//
// It takes away one :port (decimal, 1 to 65535, no leading zero) and one
// trailing dot, and makes letters lower case. What is left is a DNS name of
// letters, digits and hyphens in labels of 1 to 63 and at most 253 characters,
// or an IPv4 address, or an IPv6 address in brackets. An IPv6 address is
// returned in the form of netip and keeps its brackets, so that the result is
// a valid Host again and ParseHost of a result is that result. A name whose
// last label is a number must be an IPv4 address in full: 127.1, 0x7f000001
// and 10.0.0.256 are refused.
//
// Everything else is an error of kind ErrInvalid: nothing at all, userinfo,
// paths, percent signs, lists, spaces, control bytes, underscores, anything
// outside ASCII. The error does not repeat what was sent.
//
// It runs on every request: it makes one pass and does not allocate when the
// host is written canonically, with or without a port.
func ParseHost(hostport string) (host string, err error) {
	if strings.HasPrefix(hostport, "[") {
		return parseIPv6(hostport)
	}
	var (
		label   = 0     // where the current label begins
		upper   = false // a letter must be folded
		numeric = true  // the current label has only digits
		end     = len(hostport)
	)
scan:
	for i := 0; i < len(hostport); i++ {
		switch c := hostport[i]; {
		case '0' <= c && c <= '9':
		case 'a' <= c && c <= 'z':
			numeric = false
		case 'A' <= c && c <= 'Z':
			numeric, upper = false, true
		case c == '-':
			if i == label {
				return "", badHost("a label begins with a hyphen")
			}
			numeric = false
		case c == '.':
			if err := checkLabel(hostport[label:i]); err != nil {
				return "", err
			}
			if i+1 == len(hostport) || hostport[i+1] == ':' {
				end = i // the one trailing dot: the label before it is the last
				if i+1 < len(hostport) && !validPort(hostport[i+2:]) {
					return "", badHost("the port is not a number from 1 to 65535")
				}
				break scan
			}
			label, numeric = i+1, true
		case c == ':':
			end = i
			if !validPort(hostport[i+1:]) {
				return "", badHost("the port is not a number from 1 to 65535")
			}
			break scan
		default:
			return "", badHost("it has a character that is not a letter, a digit, a hyphen or a dot")
		}
	}
	if err := checkLabel(hostport[label:end]); err != nil {
		return "", err
	}
	host, last := hostport[:end], hostport[label:end]
	switch {
	case len(host) > maxHost:
		return "", badHost("it is longer than 253 characters")
	case numeric, isHex(last):
		// Resolvers read such a name as an address, each in its own way.
		if a, err := netip.ParseAddr(host); err != nil || !a.Is4() {
			return "", badHost("it ends in a number and is not an IPv4 address")
		}
	case upper:
		host = strings.ToLower(host)
	}
	return host, nil
}

// parseIPv6 does the work of ParseHost for an address in brackets.
func parseIPv6(hostport string) (string, error) {
	end := strings.IndexByte(hostport, ']')
	if end < 0 {
		return "", badHost("the bracket is not closed")
	}
	if rest := hostport[end+1:]; rest != "" && (rest[0] != ':' || !validPort(rest[1:])) {
		return "", badHost("after the bracket comes no port from 1 to 65535")
	}
	a, err := netip.ParseAddr(hostport[1:end])
	if err != nil || !a.Is6() || a.Zone() != "" {
		return "", badHost("the brackets hold no IPv6 address")
	}
	var space [64]byte
	canonical := append(a.AppendTo(append(space[:0], '[')), ']')
	if given := hostport[:end+1]; given == string(canonical) {
		return given, nil
	}
	return string(canonical), nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return badHost("it is empty or has an empty label")
	case len(label) > 63:
		return badHost("a label is longer than 63 characters")
	case label[len(label)-1] == '-':
		return badHost("a label ends with a hyphen")
	}
	return nil
}

// isHex reports whether a lenient resolver reads the label as a number in
// base 16.
func isHex(label string) bool {
	if len(label) < 2 || label[0] != '0' || label[1]|0x20 != 'x' {
		return false
	}
	for i := 2; i < len(label); i++ {
		if c := label[i] | 0x20; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func validPort(s string) bool {
	if s == "" || len(s) > 5 || s[0] == '0' {
		return false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}

func badHost(why string) error { return fmt.Errorf("%w host: %s", ErrInvalid, why) }
