package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// see asks once and returns what the app saw of it.
func see(t *testing.T, r *road, book *ledger, fields ...string) *sighting {
	t.Helper()
	w := r.wire(t)
	defer w.Close()
	w.ask(r.host, "GET /see", fields...)
	if a := w.mustAnswer(t, "GET"); a.StatusCode != 200 {
		t.Fatalf("%q: answer %d %.200q", fields, a.StatusCode, a.body)
	}
	seen := book.take()
	if len(seen) != 1 {
		t.Fatalf("%q: the app saw %v", fields, seen)
	}
	return seen[0]
}

// checkForwarded: the edge tells the truth about the visitor, once, and nothing else does.
func checkForwarded(t *testing.T, r *road, s *sighting) {
	t.Helper()
	if s.fault != "" {
		t.Errorf("the app objects: %v", s)
	}
	for name, want := range map[string]string{"Host": r.host, "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": r.host} {
		if got := s.value(name); got != want {
			t.Errorf("%s: the app saw %q, want %q", name, got, want)
		}
	}
	forwarded := strings.ToLower(s.value("Forwarded"))
	for _, part := range []string{`for="?127\.0\.0\.1"?`, "proto=http", `host="?` + regexp.QuoteMeta(r.host) + `"?`} {
		if !regexp.MustCompile(`(^|;)\s*` + part + `\s*(;|$)`).MatchString(forwarded) {
			t.Errorf("Forwarded: %q has no %s", forwarded, part)
		}
	}
	if id := s.value("Relay-Request-Id"); id == "" || strings.ContainsAny(id, "| ") {
		t.Errorf("Relay-Request-Id %q", id)
	}
}

func TestForwardedFieldsAreSet(t *testing.T) {
	book := newLedger()
	overRoads(t, book.open, func(t *testing.T, r *road) {
		needsBinary(t)
		s := see(t, r, book)
		checkForwarded(t, r, s)
		// The visitor is told the same id, so that a report can be found in the app's log.
		for _, h2 := range []bool{false, true} {
			l := r.lane(t, h2)
			resp, _ := l.get(t, "/id")
			seen := book.take()
			if len(seen) != 1 || resp.Header.Get("Relay-Request-Id") != "" && resp.Header.Get("Relay-Request-Id") != seen[0].value("Relay-Request-Id") {
				t.Errorf("h2c %v: the visitor was told %q, the app %v", h2, resp.Header.Get("Relay-Request-Id"), seen)
			}
			checkForwarded(t, r, seen[0])
		}
	})
}

func TestForwardedFieldsCannotBeMadeUp(t *testing.T) {
	names := []string{
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server",
		"X-Forwarded-By", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-Uri", "X-Forwarded-User", "X-Forwarded-Anything", "Forwarded", "X-Real-IP",
		"True-Client-IP", "CF-Connecting-IP", "Relay-Request-Id", "Relay-Error", "Relay-User", "Relay-Anything",
	}
	book := newLedger()
	overRoads(t, book.open, func(t *testing.T, r *road) {
		needsBinary(t)
		for _, name := range names {
			forms := []string{
				name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"),
				strings.Replace(name, "-", "_", 1), strings.ToUpper(strings.ReplaceAll(name, "-", "_")),
			}
			for _, form := range forms {
				for _, connection := range []string{"", "Connection: " + name, "Connection: keep-alive, " + strings.ToLower(form)} {
					w := r.wire(t)
					fields := []string{form + ": 6.6.6.6madeup", form + ": madeup2"}
					if connection != "" {
						fields = append(fields, connection)
					}
					w.ask(r.host, "GET /see", fields...)
					a := w.mustAnswer(t, "GET")
					w.Close()
					seen := book.take()
					if a.StatusCode == 400 && strings.Contains(form, "_") && len(seen) == 0 {
						continue // a twin may be refused
					}
					if a.StatusCode != 200 || len(seen) != 1 {
						t.Errorf("%q: answer %d, the app saw %v", fields, a.StatusCode, seen)
						continue
					}
					if err := nowhere("madeup")(seen[0]); err != nil {
						t.Errorf("%q: %v", fields, err)
					}
					checkForwarded(t, r, seen[0])
				}
			}
		}
	})
}

// Naming a field in Connection is how one strips what others rely on (E16).
func TestConnectionCannotStripWhatMatters(t *testing.T) {
	book := newLedger()
	overRoads(t, book.open, func(t *testing.T, r *road) {
		needsBinary(t)
		for _, connection := range []string{
			"X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Forwarded, Relay-Request-Id",
			"x-forwarded-for,x-forwarded-host,x-forwarded-proto,forwarded,relay-request-id",
			"keep-alive, X-FORWARDED-FOR", "Host", "Authorization, Cookie", "authorization , cookie",
		} {
			s := see(t, r, book, "Connection: "+connection, "Authorization: Bearer x", "Cookie: a=b")
			checkForwarded(t, r, s)
			for name, want := range map[string]string{"Authorization": "Bearer x", "Cookie": "a=b"} {
				if got := s.value(name); got != want {
					t.Errorf("Connection: %s: the app saw %s %q, want %q", connection, name, got, want)
				}
			}
		}
		// What is not for the ends, goes: the visitor named it for this hop.
		s := see(t, r, book, "Connection: X-Hop", "X-Hop: 1", "X-End: 2")
		if s.value("X-Hop") != "" || s.value("X-End") != "2" {
			t.Errorf("the app saw X-Hop %q, X-End %q", s.value("X-Hop"), s.value("X-End"))
		}
	})
}

func TestHopByHopFieldsEndAtTheEdge(t *testing.T) {
	book := newLedger()
	overRoads(t, book.open, func(t *testing.T, r *road) {
		if standIn == "direct" {
			t.Skip("there is one hop")
		}
		s := see(t, r, book, "Connection: keep-alive, X-One", "Connection: X-Two", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive",
			"Proxy-Authorization: Basic x", "TE: trailers, gzip;q=0.5", "X-One: 1", "X-Two: 2", "Upgrade: foo/9", "Trailer: X-T")
		for _, name := range []string{"Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "X-One", "X-Two"} {
			if got := s.values(name); len(got) > 0 {
				t.Errorf("%s %q reached the app", name, got)
			}
		}
		if te := s.value("TE"); te != "" && te != "trailers" {
			t.Errorf("TE %q reached the app", te)
		}
		if up := s.value("Upgrade"); up != "" {
			t.Errorf("Upgrade %q reached the app, but Connection did not name it", up)
		}
		for _, token := range strings.Split(s.value("Connection"), ",") {
			if token = strings.ToLower(strings.TrimSpace(token)); token != "" && token != "keep-alive" && token != "close" && token != "te" {
				t.Errorf("Connection %q reached the app", s.value("Connection"))
			}
		}
	})
}

func TestHopByHopFieldsOfTheAnswerEndAtTheEdge(t *testing.T) {
	app := func(c net.Conn) {
		r := bufio.NewReader(c)
		var mu sync.Mutex
		for readRequest(r, func(*sighting) {}, &mu) != nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=77\r\nX-Hop: 1\r\nX-End: 2\r\n"+
				"Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok")
		}
	}
	overLanes(t, bytesApp(app), func(t *testing.T, l *lane) {
		if standIn == "direct" {
			t.Skip("there is one hop")
		}
		resp, body := l.get(t, "/")
		for _, name := range []string{"X-Hop", "Keep-Alive", "Proxy-Connection"} {
			if got := resp.Header.Values(name); len(got) > 0 {
				t.Errorf("%s %q reached the visitor", name, got)
			}
		}
		if body != "ok" || resp.Header.Get("X-End") != "2" || strings.Contains(resp.Header.Get("Connection"), "X-Hop") || l.h2 && resp.Header.Get("Upgrade") != "" {
			t.Errorf("%q %v", body, resp.Header)
		}
	})
}

// The Relay-Error of an app is not ours: a visitor must be able to tell who failed.
func TestAnAppCannotSpeakInOurName(t *testing.T) {
	app := func(c net.Conn) {
		r := bufio.NewReader(c)
		var mu sync.Mutex
		for readRequest(r, func(*sighting) {}, &mu) != nil {
			io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nRelay-Error: upstream_refused\r\nRelay-Request-Id: madeup\r\nContent-Length: 4\r\n\r\nmine")
		}
	}
	overLanes(t, bytesApp(app), func(t *testing.T, l *lane) {
		needsBinary(t)
		resp, body := l.get(t, "/")
		if resp.StatusCode != 502 || body != "mine" || resp.Header.Get("Relay-Error") != "" || strings.Contains(strings.Join(resp.Header.Values("Relay-Request-Id"), ""), "madeup") {
			t.Errorf("%d %q %v", resp.StatusCode, body, resp.Header)
		}
	})
}

func TestHostHeader(t *testing.T) {
	for _, c := range []struct{ flag, want string }{{"", "public"}, {"local", "local"}, {"example.com", "example.com"}, {"example.com:8080", "example.com:8080"}} {
		t.Run("flag "+c.flag, func(t *testing.T) {
			needsBinary(t)
			var args []string
			if c.flag != "" {
				args = []string{"--host-header", c.flag}
			}
			book := newLedger()
			overRoads(t, book.open, func(t *testing.T, r *road) {
				want := map[string][]string{"public": {r.host}, "local": {r.app, strings.Replace(r.app, "127.0.0.1", "localhost", 1)}}[c.want]
				if want == nil {
					want = []string{c.want}
				}
				for range 2 { // the second on a kept connection
					s := see(t, r, book)
					if err := fieldIn("Host", want...)(s); err != nil {
						t.Error(err)
					}
					// Whatever Host is, the app can know the public one.
					if got := s.value("X-Forwarded-Host"); got != r.host || s.fault != "" {
						t.Errorf("X-Forwarded-Host %q, want %q; %s", got, r.host, s.fault)
					}
				}
			}, args...)
		})
	}
}

// Ids are of one request each, also under load, also over one connection.
func TestRequestIdsAreUnique(t *testing.T) {
	var mu sync.Mutex
	ids := map[string]bool{}
	app := newLedger()
	overRoads(t, app.open, func(t *testing.T, r *road) {
		needsBinary(t)
		l := r.lane(t, false)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					resp, err := l.client.Get(r.url("/"))
					if err != nil {
						t.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		}
		wg.Wait()
		for _, s := range app.take() {
			id := s.value("Relay-Request-Id")
			mu.Lock()
			if ids[id] || id == "" {
				t.Errorf("id %q twice", id)
			}
			ids[id] = true
			mu.Unlock()
		}
		if len(ids) == 0 {
			t.Error(fmt.Errorf("no ids"))
		}
	})
}
