package cli

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// receiver is the app behind the tunnel: a sample webhook receiver such as a user
// would write, on a loopback port of its own.
type receiver struct {
	secret []byte // shared with the sender of webhooks
	addr   string
	server *http.Server
	done   chan struct{} // closed when the server has ended

	mu       sync.Mutex
	accepted map[string]delivery // by delivery id
	paces    map[string]chan struct{}
}

// delivery is a webhook whose signature was right, as the receiver saw it.
type delivery struct {
	Event     string
	UserAgent string
	Host      string
	RequestID string
	Visitor   string
	Body      [sha256.Size]byte
}

// maxWebhook is the largest body GitHub sends.
const maxWebhook = 25 << 20

// newReceiver starts a receiver with a random secret.
func newReceiver() (*receiver, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the webhook receiver: %w", err)
	}
	r := &receiver{
		secret: []byte(rand.Text()), addr: ln.Addr().String(), done: make(chan struct{}),
		accepted: map[string]delivery{}, paces: map[string]chan struct{}{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /github", r.github)
	mux.HandleFunc("/upload", r.upload)
	mux.HandleFunc("GET /events", r.events)
	mux.HandleFunc("GET /ws", echoWebSocket)
	mux.HandleFunc("GET /{$}", r.hello)
	r.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(r.done)
		_ = r.server.Serve(ln)
	}()
	return r, nil
}

// close ends the receiver with all that it has open.
func (r *receiver) close() {
	_ = r.server.Close()
	<-r.done
}

func (r *receiver) hello(w http.ResponseWriter, req *http.Request) {
	_, _ = fmt.Fprintf(w, "Hello %s, this is the app on %s.\nYou asked for %s; the relay calls this request %s.\n",
		req.Header.Get("X-Forwarded-For"), r.addr, req.Host, req.Header.Get("Relay-Request-Id"))
}

// github takes a webhook, if GitHub can have sent it: only who knows the secret
// can sign the body.
func (r *receiver) github(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxWebhook))
	if err != nil {
		answerJSON(w, http.StatusBadRequest, map[string]any{"ok": false, "error": "the body did not arrive whole"})
		return
	}
	if !signed(r.secret, body, req.Header.Get("X-Hub-Signature-256")) {
		answerJSON(w, http.StatusUnauthorized, map[string]any{"ok": false, "error": "the signature is not right"})
		return
	}
	id := req.Header.Get("X-GitHub-Delivery")
	r.accept(id, delivery{
		Event: req.Header.Get("X-GitHub-Event"), UserAgent: req.UserAgent(), Host: req.Host,
		RequestID: req.Header.Get("Relay-Request-Id"), Visitor: req.Header.Get("X-Forwarded-For"), Body: sha256.Sum256(body),
	})
	answerJSON(w, http.StatusOK, map[string]any{"ok": true, "event": req.Header.Get("X-GitHub-Event"), "delivery": id})
}

// maxAccepted bounds what is remembered of visitors' deliveries.
const maxAccepted = 1000

func (r *receiver) accept(id string, d delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.accepted) >= maxAccepted {
		clear(r.accepted)
	}
	r.accepted[id] = d
}

// delivered tells what arrived under a delivery id.
func (r *receiver) delivered(id string) (delivery, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.accepted[id]
	return d, ok
}

// sign makes the value of X-Hub-Signature-256.
func sign(secret, body []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write(body)
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}

// signed compares in constant time: how long it takes must not tell how much of
// a guess is right.
func signed(secret, body []byte, signature string) bool {
	return hmac.Equal([]byte(sign(secret, body)), []byte(signature))
}

type uploaded struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// upload counts and hashes what it gets, and keeps nothing.
func (r *receiver) upload(w http.ResponseWriter, req *http.Request) {
	h := sha256.New()
	n, err := io.Copy(h, req.Body)
	if err != nil {
		answerJSON(w, http.StatusBadRequest, map[string]any{"error": "the body did not arrive whole", "bytes": n})
		return
	}
	answerJSON(w, http.StatusOK, uploaded{n, hex.EncodeToString(h.Sum(nil))})
}

// events streams numbered events, one a second. With ?pace= the demo decides
// when the next one is sent.
func (r *receiver) events(w http.ResponseWriter, req *http.Request) {
	var next <-chan struct{}
	if id := req.URL.Query().Get("pace"); id != "" {
		r.mu.Lock()
		next = r.paces[id]
		r.mu.Unlock()
	}
	var second <-chan time.Time
	if next == nil {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		second = t.C
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	_ = rc.Flush()
	for n := 1; ; n++ {
		select {
		case <-second:
		case _, ok := <-next:
			if !ok {
				return
			}
		case <-req.Context().Done():
			return
		}
		if _, err := fmt.Fprintf(w, "id: %d\ndata: event %d at %s\n\n", n, n, time.Now().Format("15:04:05.000")); err != nil {
			return
		}
		_ = rc.Flush()
	}
}

// pace makes an id for ?pace=. send has the next event sent; end ends the stream.
func (r *receiver) pace() (id string, send func(context.Context) error, end func()) {
	id = rand.Text()
	c := make(chan struct{})
	r.mu.Lock()
	r.paces[id] = c
	r.mu.Unlock()
	send = func(ctx context.Context) error {
		select {
		case c <- struct{}{}:
			return nil
		case <-ctx.Done():
			return errors.New("the receiver did not take the request for events")
		}
	}
	end = sync.OnceFunc(func() {
		r.mu.Lock()
		delete(r.paces, id)
		r.mu.Unlock()
		close(c)
	})
	return id, send, end
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// headerHas tells whether a header that is a list has an item.
func headerHas(h http.Header, name, item string) bool {
	for _, v := range h.Values(name) {
		for one := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(one), item) {
				return true
			}
		}
	}
	return false
}
