package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// demoStory is what the demo does, in this order.
var demoStory = []demoStep{
	{name: "server", run: stepServer, must: true},
	{name: "agent", run: stepAgent, must: true},
	{name: "GitHub ping", run: stepPing},
	{name: "GitHub push", run: stepPush},
	{name: "wrong signature", run: stepForged},
	{name: "large upload", run: stepUpload},
	{name: "WebSocket", run: stepWebSocket},
	{name: "event stream", run: stepEvents},
	{name: "agent stopped", run: stepAway},
	{name: "agent back", run: stepBack},
}

func stepServer(ctx context.Context, w *demoWorld) (string, error) {
	if err := w.startServer(ctx); err != nil {
		return "", err
	}
	page, err := w.get(ctx, w.ready.URL+"/readyz")
	if err != nil {
		return "", err
	}
	if page.status != http.StatusOK || page.body != "ready\n" {
		return "", fmt.Errorf("%s/readyz answered %s", w.ready.URL, page)
	}
	detail := "serves " + w.ready.URL
	if w.o.choose && w.ready.HTTPAddr != w.o.addr {
		detail += fmt.Sprintf(" (a free port: %s is taken)", w.o.addr)
	}
	return detail, nil
}

func stepAgent(ctx context.Context, w *demoWorld) (string, error) {
	var err error
	if w.url, err = w.startAgent(ctx); err != nil {
		return "", err
	}
	page, err := w.get(ctx, w.url+"/")
	if err != nil {
		return "", err
	}
	if page.status != http.StatusOK || !strings.Contains(page.body, "this is the app on "+w.receiver.addr) {
		return "", fmt.Errorf("%s/ answered %s", w.url, page)
	}
	return fmt.Sprintf("%s reaches the receiver on %s", w.url, w.receiver.addr), nil
}

func stepPing(ctx context.Context, w *demoWorld) (string, error) {
	return deliver(ctx, w, "ping", githubPing)
}

func stepPush(ctx context.Context, w *demoWorld) (string, error) {
	return deliver(ctx, w, "push", githubPush)
}

func deliver(ctx context.Context, w *demoWorld, event, body string) (string, error) {
	h, err := newWebhook(event, body, w.receiver.secret)
	if err != nil {
		return "", err
	}
	if err := h.deliver(ctx, w); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s arrived byte for byte, its signature is right: 200", size(int64(len(h.body)))), nil
}

// stepForged sends what somebody would who does not know the secret.
func stepForged(ctx context.Context, w *demoWorld) (string, error) {
	h, err := newWebhook("push", githubPush, []byte(rand.Text()))
	if err != nil {
		return "", err
	}
	res, err := h.send(ctx, w)
	if err != nil {
		return "", plain(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusUnauthorized || res.Header.Get("Relay-Error") != "" {
		return "", fmt.Errorf("the answer was %s, not the receiver's 401", answered(res.StatusCode, res.Header))
	}
	if _, ok := w.receiver.delivered(h.id); ok {
		return "", errors.New("the receiver took it")
	}
	return "the receiver refused it: 401", nil
}

// uploadSize is more than any buffer on the way holds.
const uploadSize = 64 << 20

func stepUpload(ctx context.Context, w *demoWorld) (string, error) {
	var seed [32]byte
	_, _ = rand.Read(seed[:])
	body := &hashedBody{r: io.LimitReader(mathrand.NewChaCha8(seed), uploadSize), hash: sha256.New()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/upload", body)
	if err != nil {
		return "", err
	}
	req.ContentLength = uploadSize
	began := time.Now()
	res, err := w.visitor.Do(req)
	if err != nil {
		return "", plain(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the answer was %s", answered(res.StatusCode, res.Header))
	}
	var got uploaded
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&got); err != nil {
		return "", fmt.Errorf("the answer cannot be read: %w", err)
	}
	took := time.Since(began)
	if got.Bytes != uploadSize {
		return "", fmt.Errorf("%d of %d bytes arrived", got.Bytes, uploadSize)
	}
	if got.SHA256 != body.sum() {
		return "", errors.New("what arrived is not what was sent: the hashes differ")
	}
	return fmt.Sprintf("%d MiB, the same SHA-256 on both sides, %.0f MB/s", uploadSize>>20, uploadSize/1e6/took.Seconds()), nil
}

// hashedBody hashes what is read of it. The lock is for an answer that comes
// while the body is still being sent.
type hashedBody struct {
	mu   sync.Mutex
	r    io.Reader
	hash hash.Hash
}

func (b *hashedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.r.Read(p)
	b.hash.Write(p[:n])
	return n, err
}

func (b *hashedBody) sum() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return hex.EncodeToString(b.hash.Sum(nil))
}

func stepWebSocket(ctx context.Context, w *demoWorld) (string, error) {
	c, err := dialWebSocket(ctx, w.dial, w.url+"/ws")
	if err != nil {
		return "", plain(err)
	}
	defer c.close()
	began := time.Now()
	if err := c.echo(opText, []byte("Grüße durch den Tunnel"), opText); err != nil {
		return "", err
	}
	there := time.Since(began)
	big := bytes.Repeat([]byte{0, 1, 0xfe, 0xff}, 25_000)
	if err := c.echo(opBinary, big, opBinary); err != nil {
		return "", err
	}
	if err := c.echo(opPing, []byte("ping"), opPong); err != nil {
		return "", err
	}
	normal := []byte{0x03, 0xe8} // 1000: a normal end
	if err := c.echo(opClose, normal, opClose); err != nil {
		return "", err
	}
	if err := c.ended(); err != nil {
		return "", err
	}
	return fmt.Sprintf("text, %s of binary and a ping came back, there and back in %s; closed cleanly", size(int64(len(big))), duration(there)), nil
}

// demoEvents is how many events are waited for, each before the next is sent: an
// event that waits in a buffer for company never comes.
const demoEvents = 5

func stepEvents(ctx context.Context, w *demoWorld) (string, error) {
	id, send, end := w.receiver.pace()
	defer end()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/events?pace="+id, nil)
	if err != nil {
		return "", err
	}
	res, err := w.visitor.Do(req)
	if err != nil {
		return "", fmt.Errorf("the head of the stream did not come: %w", plain(err))
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		return "", fmt.Errorf("the answer was %s", answered(res.StatusCode, res.Header))
	}
	lines := bufio.NewScanner(res.Body)
	var slowest time.Duration
	for n := 1; n <= demoEvents; n++ {
		began := time.Now()
		if err := send(ctx); err != nil {
			return "", err
		}
		got := ""
		for lines.Scan() && lines.Text() != "" {
			if v, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				got = v
			}
		}
		if got != strconv.Itoa(n) {
			return "", fmt.Errorf("event %d did not come before the next was sent", n)
		}
		slowest = max(slowest, time.Since(began))
	}
	end()
	if lines.Scan() || lines.Err() != nil {
		return "", errors.New("the stream did not end with its sender")
	}
	return fmt.Sprintf("%d events, each seen before the next was sent, the slowest after %s", demoEvents, duration(slowest)), nil
}

// stepAway stops the agent: a request waits for it, and then is told why nobody
// answers and when to come again.
func stepAway(ctx context.Context, w *demoWorld) (string, error) {
	w.stopAgent()
	began := time.Now()
	page, err := w.get(ctx, w.url+"/")
	if err != nil {
		return "", err
	}
	waited := time.Since(began)
	if page.status != http.StatusServiceUnavailable || page.header.Get("Relay-Error") != "agent_away" {
		return "", fmt.Errorf("the answer was %s, not 503 (agent_away)", page)
	}
	after, err := strconv.Atoi(page.header.Get("Retry-After"))
	if err != nil || after < 1 {
		return "", fmt.Errorf("the 503 has the Retry-After %q", page.header.Get("Retry-After"))
	}
	if waited < demoHold*9/10 {
		return "", fmt.Errorf("the request was not held for the agent: the answer came after %s", duration(waited))
	}
	return fmt.Sprintf("a request was held for it, then answered: 503 agent_away, Retry-After: %d", after), nil
}

// stepBack sends a webhook while the agent is away, and starts the agent a moment
// later: the webhook must arrive, and only then.
func stepBack(ctx context.Context, w *demoWorld) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h, err := newWebhook("push", githubPush, w.receiver.secret)
	if err != nil {
		return "", err
	}
	wrote := make(chan struct{}, 1)
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) {
		select {
		case wrote <- struct{}{}:
		default:
		}
	}})
	arrived := make(chan error, 1)
	go func() { arrived <- h.deliver(traced, w) }()
	select {
	case <-wrote:
	case err := <-arrived:
		return "", errors.Join(errors.New("the request could not be sent"), err)
	}
	// The server has the request, or will in no time; give it the chance to answer
	// wrongly before the agent comes.
	began := time.Now()
	t := time.NewTimer(heldFor)
	defer t.Stop()
	select {
	case <-t.C:
	case err := <-arrived:
		if err == nil {
			err = errors.New("answered, but by whom?")
		}
		return "", fmt.Errorf("the request was not held: %w", err)
	}
	before := time.Since(began)
	again, err := w.startAgent(ctx)
	if err != nil {
		cancel()
		return "", errors.Join(err, <-arrived)
	}
	if err := <-arrived; err != nil {
		return "", fmt.Errorf("a request that waited for the agent: %w", err)
	}
	if again != w.url {
		return "", fmt.Errorf("the agent came back as %s", again)
	}
	return fmt.Sprintf("the same URL; a webhook that came %s before it was held, then delivered", duration(before)), nil
}

// page is an answer that was read to its end.
type page struct {
	status int
	header http.Header
	body   string
}

func (p page) String() string { return answered(p.status, p.header) }

// get fetches a page as a visitor.
func (w *demoWorld) get(ctx context.Context, u string) (page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return page{}, err
	}
	res, err := w.visitor.Do(req)
	if err != nil {
		return page{}, plain(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return page{}, fmt.Errorf("the answer ended too early: %w", err)
	}
	return page{res.StatusCode, res.Header, string(body)}, nil
}

// plain takes the URL from an error of net/http: the story names it already.
func plain(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("it took too long")
	}
	return err
}
