package inspector

import (
	"net"
	"net/http"
	"slices"
)

// csp lets the page load and ask only what this server has. Images may be made by
// the page itself, of captured bytes of a safe type; they run nothing.
const csp = "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; " +
	"frame-ancestors 'none'; require-trusted-types-for 'script'"

// headers are those of every answer.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// Local lets only programs of this machine and the page itself through. port is that
// on which it is served. A page of another site can reach a loopback address: by a
// name of its own that it lets lead there, which the Host tells; or openly, which
// the browser's Sec-Fetch-Site and Origin tell.
func Local(port string, next http.Handler) http.Handler {
	hosts := []string{
		net.JoinHostPort("localhost", port), net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("::1", port),
	}
	if port == "80" {
		hosts = append(hosts, "localhost", "127.0.0.1", "[::1]")
	}
	guarded := http.NewCrossOriginProtection()
	guarded.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusForbidden, "cross_site", "Another site may not do that.")
	}))
	inner := guarded.Handler(next)
	return headers(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(hosts, r.Host) {
			problem(w, http.StatusMisdirectedRequest, "wrong_host", "The inspector is at http://"+hosts[1]+" only.")
			return
		}
		// "none" is an address that was typed; a link of another site may lead to the
		// page, and no further.
		site := r.Header.Get("Sec-Fetch-Site")
		if (site == "cross-site" || site == "same-site") && r.URL.Path != "/" {
			problem(w, http.StatusForbidden, "cross_site", "Another site may not read that.")
			return
		}
		inner.ServeHTTP(w, r)
	}))
}
