package conformance

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The edge's own answers: a documented code, an id to report, a page for people and JSON for programs, and nothing of what the
// visitor sent that a browser could run.

func TestErrorAnswers(t *testing.T) {
	overRoads(t, closedPort, func(t *testing.T, r *road) {
		needsBinary(t)
		unknown := *r
		unknown.host = strings.Replace(r.host, "alice", "nobody", 1)
		for _, c := range []struct {
			name   string
			road   *road
			method string
			target string
			status int
		}{
			{"unknown name", &unknown, "GET", "/", 404},
			{"app not running", r, "GET", "/", 502},
			{"trace", r, "TRACE", "/", 405},
		} {
			for _, h2 := range []bool{false, true} {
				for _, accept := range []string{"", "application/json", "text/html,application/xhtml+xml,*/*;q=0.8", "*/*"} {
					l := c.road.lane(t, h2)
					req := l.request(t, c.method, c.target+`?<script>alert(1)</script>`, nil)
					if accept != "" {
						req.Header.Set("Accept", accept)
					}
					resp := l.do(t, req)
					b, err := io.ReadAll(resp.Body)
					if err != nil {
						t.Fatal(err)
					}
					code, id, kind := resp.Header.Get("Relay-Error"), resp.Header.Get("Relay-Request-Id"), resp.Header.Get("Content-Type")
					if resp.StatusCode != c.status || !regexp.MustCompile(`^[a-z][a-z0-9_]+$`).MatchString(code) || id == "" {
						t.Errorf("%s, Accept %q: %d, Relay-Error %q, Relay-Request-Id %q", c.name, accept, resp.StatusCode, code, id)
					}
					if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
						t.Errorf("%s: no nosniff", c.name)
					}
					if strings.Contains(string(b), "<script>alert") {
						t.Errorf("%s: the page carries what the visitor sent: %.300q", c.name, b)
					}
					switch {
					case strings.HasPrefix(accept, "text/html,"):
						if !strings.HasPrefix(kind, "text/html") || !strings.Contains(string(b), code) && !strings.Contains(string(b), id) {
							t.Errorf("%s for a browser: %s %.200q; want a page with the code or the id", c.name, kind, b)
						}
					case strings.Contains(accept, "application/json"):
						var v map[string]any
						if !strings.HasPrefix(kind, "application/") || !strings.Contains(kind, "json") || json.Unmarshal(b, &v) != nil {
							t.Errorf("%s for a program: %s %.200q", c.name, kind, b)
						}
					}
				}
			}
		}
		// HEAD gets the head of it and no body.
		w := unknown.wire(t)
		w.ask(unknown.host, "HEAD /")
		if head := w.head(t); !strings.HasPrefix(head, "HTTP/1.1 404") {
			t.Errorf("HEAD: %q", head)
		}
		w.ask(unknown.host, "HEAD /")
		if head := w.head(t); !strings.HasPrefix(head, "HTTP/1.1 404") {
			t.Errorf("HEAD: a body stands before the next answer: %q", head)
		}
	})
}

// An unknown name with a body behind it must not make the next request begin within that body (E04).
func TestRefusedRequestWithABody(t *testing.T) {
	overRoads(t, handler(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) }), func(t *testing.T, r *road) {
		needsBinary(t)
		for _, n := range []int{len(smuggled), 300_000} {
			w := r.wire(t)
			inner := smuggled + strings.Repeat("x", n-len(smuggled))
			go w.send("POST / HTTP/1.1\r\nHost: nobody.localhost\r\nContent-Length: " + strconv.Itoa(n) + "\r\n\r\n" + inner + "GET /after HTTP/1.1\r\nHost: " + r.host + "\r\n\r\n")
			a, err := w.answer("POST")
			if err != nil || a.StatusCode != 404 {
				t.Fatalf("%+v, %v", a, err)
			}
			if next, err := w.answer("GET"); err == nil && string(next.body) != "/after" {
				t.Errorf("the next answer is %d %.200q", next.StatusCode, next.body)
			}
		}
	})
}
