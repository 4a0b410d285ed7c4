package edge

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

const idHeader = "Relay-Request-Id"

// prepare makes the request's header ready for the app, in place.
func (c *call) prepare() {
	h := c.r.Header
	before := c.identify()
	dropForged(h)
	up := upgradeOf(c.r)
	dropHopByHop(h)
	if up != "" {
		h["Connection"] = []string{"Upgrade"}
		h["Upgrade"] = []string{up}
	}
	c.tell(before)
}

// identify finds out who the visitor is. before are the hops that a trusted proxy
// told of.
func (c *call) identify() (before []string) {
	peer := peerAddr(c.r)
	c.client, c.proto = peer, "http"
	if c.r.TLS != nil {
		c.proto = "https"
	}
	if c.trusts(peer) {
		return c.believe(c.r.Header, peer)
	}
	return nil
}

// tell tells the app who the visitor is.
func (c *call) tell(before []string) {
	h := c.r.Header
	client := c.client.String()
	h["X-Forwarded-For"] = []string{strings.Join(append(before, client), ", ")}
	if len(before) == 0 {
		h["X-Forwarded-For"] = []string{client}
	}
	h["X-Forwarded-Host"] = []string{c.hostport}
	h["X-Forwarded-Proto"] = []string{c.proto}
	h["Forwarded"] = []string{forwarded(c.client, client, c.hostport, c.proto)}
	h[idHeader] = []string{c.id}
}

// believe takes the visitor's address and scheme from the headers of a trusted
// proxy: the last hop that is not itself a trusted proxy.
func (c *call) believe(h http.Header, peer netip.Addr) (before []string) {
	if protos := h["X-Forwarded-Proto"]; len(protos) > 0 {
		// The last is the proxy's own word; before it stands what it was told.
		last := protos[len(protos)-1]
		last = strings.ToLower(strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:]))
		if last == "https" || last == "http" {
			c.proto = last
		}
	}
	var hops []string
	for _, v := range h["X-Forwarded-For"] {
		for _, hop := range strings.Split(v, ",") {
			hops = append(hops, strings.TrimSpace(hop))
		}
	}
	for i := len(hops) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(hops[i])
		if err != nil {
			return nil
		}
		c.client = a.Unmap().WithZone("")
		if !c.trusts(c.client) {
			return nil
		}
	}
	return nil
}

func (c *call) trusts(a netip.Addr) bool {
	for _, p := range c.edge.o.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// peerAddr is the address of the other end of the connection.
func peerAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.IPv4Unspecified()
	}
	return ap.Addr().Unmap().WithZone("")
}

// ClientAddr gives the visitor's address: that of the connection, or what a
// trusted proxy says.
func (e *Edge) ClientAddr(r *http.Request) netip.Addr {
	c := call{edge: e, r: r}
	c.identify()
	return c.client
}

func forwarded(a netip.Addr, client, host, proto string) string {
	if a.Is6() {
		client = `"[` + client + `]"`
	}
	return "for=" + client + `;host="` + host + `";proto=` + proto
}

// forged are the headers by which proxies tell apps about visitors. Only this
// edge tells.
var forged = map[string]bool{
	"Forwarded": true, "X-Real-Ip": true, "True-Client-Ip": true, "Cf-Connecting-Ip": true,
	"X-Client-Ip": true, "X-Cluster-Client-Ip": true, "Fastly-Client-Ip": true, "X-Original-Url": true,
	"X-Original-Host": true, "X-Rewrite-Url": true, "X-Original-Forwarded-For": true, "Client-Ip": true,
	"X-Host": true, "X-Scheme": true,
}

// dropForged removes what a visitor may not say, also where an underscore stands
// for a hyphen: many app servers take the two for the same.
func dropForged(h http.Header) {
	for k := range h {
		name := k
		if strings.IndexByte(k, '_') >= 0 {
			name = http.CanonicalHeaderKey(strings.ReplaceAll(k, "_", "-"))
		}
		if forged[name] || strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "Relay-") {
			delete(h, k)
		} else if name != k && (framing[name] || name == "Host") {
			delete(h, k)
		}
	}
}

// framing are headers that say how a message is framed.
var framing = map[string]bool{"Content-Length": true, "Transfer-Encoding": true, "Connection": true, "Te": true, "Upgrade": true, "Trailer": true}

// endToEnd are headers that Connection cannot take away: what checks read and
// apps rely on is not a visitor's to remove (CVE-2024-45410, CVE-2026-29054).
var endToEnd = map[string]bool{
	"Authorization": true, "Cookie": true, "Host": true, "Content-Length": true, "Content-Type": true,
	"Content-Encoding": true, "Origin": true, "Expect": true,
}

// dropHopByHop removes what is meant for one connection only (RFC 9110, 7.6.1).
// Transfer-Encoding and Trailer do not stand here: net/http has taken them out.
func dropHopByHop(h http.Header) {
	for _, v := range h["Connection"] {
		for _, name := range strings.Split(v, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name != "" && !endToEnd[name] {
				if name == "Te" {
					continue // below
				}
				delete(h, name)
			}
		}
	}
	trailers := false
	for _, v := range h["Te"] {
		for _, t := range strings.Split(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), "trailers") {
				trailers = true
			}
		}
	}
	for _, k := range hopByHop {
		delete(h, k)
	}
	if trailers {
		h["Te"] = []string{"trailers"} // gRPC asks for it
	}
}

var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te",
	"Transfer-Encoding", "Upgrade", "Http2-Settings",
}

// upgradeOf tells to which protocol a request wants to switch; empty when it
// does not, or may not. HTTP itself is no protocol to switch to: behind it a
// visitor would talk to the app past every check (CVE-2026-88008).
func upgradeOf(r *http.Request) string {
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 || len(r.Header["Upgrade"]) != 1 || r.ContentLength != 0 {
		return ""
	}
	asked := false
	for _, v := range r.Header["Connection"] {
		for _, t := range strings.Split(v, ",") {
			asked = asked || strings.EqualFold(strings.TrimSpace(t), "upgrade")
		}
	}
	up := strings.TrimSpace(r.Header["Upgrade"][0])
	if !asked || up == "" {
		return ""
	}
	for i := 0; i < len(up); i++ {
		if c := up[i]; c <= ' ' || c >= 0x7f || c == ',' {
			return ""
		}
	}
	name, _, _ := strings.Cut(strings.ToLower(up), "/")
	switch name {
	case "h2c", "h2", "h3", "http", "tls", "pri":
		return ""
	case "websocket":
		if r.Method != http.MethodGet || r.Header.Get("Sec-Websocket-Key") == "" {
			return ""
		}
	}
	return up
}

// answerHeader copies the header of an app's answer, less what is meant for the
// connection to the app and what only the edge says.
func (c *call) answerHeader(dst http.Header, res *http.Response) {
	src := res.Header
	for _, v := range src["Connection"] {
		for _, name := range strings.Split(v, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name != "" && !endToEnd[name] && name != "Set-Cookie" {
				delete(src, name)
			}
		}
	}
	for k, vs := range src {
		switch k {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Transfer-Encoding", "Upgrade", "Te",
			errorHeader, idHeader:
			continue
		case "Set-Cookie":
			vs = c.ownCookies(vs)
		}
		dst[k] = vs
	}
	if _, ok := dst["Content-Type"]; !ok {
		dst["Content-Type"] = nil // net/http would guess one
	}
	if res.StatusCode == http.StatusNoContent || res.StatusCode < 200 {
		delete(dst, "Content-Length") // these have no body (RFC 9110, 8.6)
	}
	dst[idHeader] = []string{c.id}
}

// ownCookies takes the Domain from cookies that would reach other tunnels too:
// one for the base domain or above it.
func (c *call) ownCookies(vs []string) []string {
	out := vs
	for i, v := range vs {
		if !strings.Contains(strings.ToLower(v), "domain") {
			continue
		}
		parts := strings.Split(v, ";")
		kept := parts[:1:1]
		for _, p := range parts[1:] {
			name, value, _ := strings.Cut(p, "=")
			if strings.EqualFold(strings.TrimSpace(name), "domain") && c.covers(value) {
				continue
			}
			kept = append(kept, p)
		}
		if len(kept) < len(parts) {
			if &out[0] == &vs[0] {
				out = append([]string(nil), vs...)
			}
			out[i] = strings.Join(kept, ";")
		}
	}
	return out
}

// covers tells whether a cookie for domain would reach the base domain.
func (c *call) covers(domain string) bool {
	domain = strings.ToLower(strings.Trim(strings.TrimSpace(domain), "."))
	base := c.edge.o.Domain
	return domain == "" || base == domain || strings.HasSuffix(base, "."+domain)
}

// ids makes request ids.
type ids struct {
	mu      sync.Mutex
	entropy *ulid.MonotonicEntropy
}

func (g *ids) next() string {
	g.mu.Lock()
	if g.entropy == nil {
		g.entropy = ulid.Monotonic(ulid.DefaultEntropy(), 0)
	}
	id, err := ulid.New(ulid.Timestamp(time.Now()), g.entropy)
	g.mu.Unlock()
	if err != nil { // more ids in a millisecond than entropy can count
		id = ulid.Make()
	}
	var b [4 + ulid.EncodedSize]byte
	copy(b[:], "req_")
	_ = id.MarshalTextTo(b[4:])
	return string(b[:])
}

var _ net.Conn = (*conn)(nil)
