package signature

import (
	"net/url"
	"strings"
)

// CertURL returns where the certificate is that the request says it was signed
// with; the domain is the one that the certificate must be of. ok is false when the
// scheme has no certificates, and when the address is not the sender's: anybody can
// write one into a request, and it is not to be asked for then.
func (s Scheme) CertURL(r Request) (address, domain string, ok bool) {
	for _, way := range s.ways() {
		if way.Cert == "" {
			continue
		}
		text, one := (&message{Request: r}).one(way.Cert)
		if one && isAt(text, way.CertDomain) {
			return text, way.CertDomain, true
		}
	}
	return "", "", false
}

// isAt tells whether the address is a plain one of https below the domain.
func isAt(address, domain string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Port() != "" && u.Port() != "443" {
		return false
	}
	return InDomain(u.Hostname(), domain)
}

// InDomain tells whether the host is the domain or one below it.
func InDomain(host, domain string) bool {
	host = strings.ToLower(host)
	return domain != "" && (host == domain || strings.HasSuffix(host, "."+domain))
}

// certified tells whether there is a certificate to verify with.
func (m *message) certified(s Scheme) *Error {
	if text, one := m.one(s.Cert); !one || !isAt(text, s.CertDomain) {
		return &Error{Reason: ForeignCert, Where: s.Cert.String()}
	}
	if m.Signer == nil {
		return &Error{Reason: NoCert}
	}
	return nil
}
