package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// document is a fixed JSON answer of exactly 1 KiB.
var document = func() []byte {
	head, tail := `{"id":1,"name":"relay","data":"`, `"}`
	return []byte(head + strings.Repeat("x", 1024-len(head)-len(tail)) + tail)
}()

// pattern is what bulk bodies are made of, again and again. It does not repeat
// within itself, so that a piece lost or sent twice shows.
var pattern = func() []byte {
	b := make([]byte, 64<<10)
	rnd := rand.NewChaCha8([32]byte{'r', 'e', 'l', 'a', 'y'})
	_, _ = rnd.Read(b)
	return b
}()

// patternCheck is a writer that accepts the pattern and nothing else.
type patternCheck struct{ n int64 }

func (c *patternCheck) Write(b []byte) (int, error) {
	total := len(b)
	for len(b) > 0 {
		want := pattern[c.n%int64(len(pattern)):]
		m := min(len(b), len(want))
		if !bytes.Equal(b[:m], want[:m]) {
			return 0, fmt.Errorf("wrong bytes near offset %d", c.n)
		}
		b, c.n = b[m:], c.n+int64(m)
	}
	return total, nil
}

// buffers hold 64 KiB each, for copying bodies.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// appMain is the service behind every system.
func appMain() error {
	ln, err := listen()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /json", serveDocument)
	mux.HandleFunc("POST /echo", serveEcho)
	mux.HandleFunc("POST /ack", serveAck)
	mux.HandleFunc("GET /bytes", serveBytes)
	mux.HandleFunc("POST /sink", serveSink)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	return srv.Serve(ln)
}

func serveDocument(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{"1024"}
	_, _ = w.Write(document)
}

// serveEcho answers the moment the announced length has been read, which is
// before the end of the body has: the race that loses answers in a careless proxy.
func serveEcho(w http.ResponseWriter, r *http.Request) {
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	n := r.ContentLength
	if n < 0 || n > int64(len(*bp)) {
		http.Error(w, "echo takes a Content-Length of at most 64 KiB", http.StatusBadRequest)
		return
	}
	b := (*bp)[:n]
	if _, err := io.ReadFull(r.Body, b); err != nil {
		http.Error(w, "short body: "+err.Error(), http.StatusBadRequest)
		return
	}
	h := w.Header()
	h["Content-Type"] = []string{"application/octet-stream"}
	h["Content-Length"] = []string{strconv.FormatInt(n, 10)}
	_, _ = w.Write(b)
}

// serveAck answers without looking at the body, as quick webhook receivers do.
func serveAck(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "ack "+r.URL.RawQuery)
}

func serveBytes(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
	h := w.Header()
	h["Content-Length"] = []string{strconv.FormatInt(n, 10)}
	h["Content-Type"] = []string{"application/octet-stream"}
	for n > 0 {
		m, err := w.Write(pattern[:min(n, int64(len(pattern)))])
		if err != nil {
			return
		}
		n -= int64(m)
	}
}

func serveSink(w http.ResponseWriter, r *http.Request) {
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	check := &patternCheck{}
	if _, err := io.CopyBuffer(check, r.Body, *bp); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = fmt.Fprintf(w, "got %d", check.n)
}
