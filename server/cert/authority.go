package cert

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/relaytunnel/relay/internal/relay"
)

// accountKeyName is where the account key lies in the cache, with a + so that it
// is no host.
const accountKeyName = "acme_account+key"

func newTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   2,
		ForceAttemptHTTP2:     true,
	}
}

// client returns a client of the authority for one order, and what it hears of
// refused verifications. Its requests end with ctx.
func (k *Keeper) client(ctx context.Context) (*acme.Client, *refusals, error) {
	key, err := k.accountKey(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("account key: %w", err)
	}
	heard := &refusals{}
	return &acme.Client{
		Key:          key,
		DirectoryURL: k.o.Directory,
		UserAgent:    "relay",
		HTTPClient:   &http.Client{Transport: &listener{ctx, k.roots, heard}, Timeout: time.Minute},
		RetryBackoff: func(n int, _ *http.Request, res *http.Response) time.Duration {
			// A nonce that was refused wants another at once. Of what is wrong
			// for longer, Run has the pace.
			switch {
			case res.StatusCode == http.StatusBadRequest && n < 10:
				return time.Millisecond
			case res.StatusCode >= 500 && n < 3:
				return time.Duration(n) * time.Second
			}
			return 0
		},
	}, heard, nil
}

// accountKey returns the key that identifies this server, or makes it. Of several
// processes one makes it.
func (k *Keeper) accountKey(ctx context.Context) (crypto.Signer, error) {
	if key, err := k.readAccountKey(ctx); !errors.Is(err, autocert.ErrCacheMiss) {
		return key, err
	}
	ctx, unlock, err := k.lock(ctx, "cert/account")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if key, err := k.readAccountKey(ctx); !errors.Is(err, autocert.ErrCacheMiss) {
		return key, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, k.cache.Put(ctx, accountKeyName, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

func (k *Keeper) readAccountKey(ctx context.Context) (crypto.Signer, error) {
	data, err := k.cache.Get(ctx, accountKeyName)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("the account key in the store is damaged")
	}
	return x509.ParseECPrivateKey(block.Bytes)
}

// refusals collects why the authority did not find that a host is ours. autocert
// goes on with the next way to prove it, and keeps the reason to itself.
type refusals struct {
	mu   sync.Mutex
	seen map[string]bool // URLs of the challenges
	said []string        // what was wrong with each
}

// count is how many verifications failed; authorities limit them.
func (r *refusals) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// reason is what the authority said, or nothing.
func (r *refusals) reason() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.said, "; ")
}

// read looks into an answer of the authority: is it an authorization that failed?
func (r *refusals) read(body []byte) {
	var authorization struct {
		Status     string `json:"status"`
		Challenges []struct {
			Type  string `json:"type"`
			Token string `json:"token"`
			URL   string `json:"url"`
			Error *struct {
				Detail string `json:"detail"`
			} `json:"error"`
		} `json:"challenges"`
	}
	if json.Unmarshal(body, &authorization) != nil || authorization.Status != acme.StatusInvalid {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range authorization.Challenges {
		if c.Error == nil || r.seen[c.URL] {
			continue
		}
		if r.seen == nil {
			r.seen = make(map[string]bool)
		}
		r.seen[c.URL] = true
		why := strings.TrimSuffix(c.Error.Detail, ".")
		if c.Token != "" { // another each time, so that one reason would look like many
			why = strings.ReplaceAll(why, c.Token, "...")
		}
		r.said = append(r.said, fmt.Sprintf("by %s: %s", c.Type, why))
	}
}

// maxHeard is how much of an answer is looked at: authorizations have a few kilobytes.
const maxHeard = 64 << 10

// listener carries the requests of one order, and hears the answers.
type listener struct {
	ctx   context.Context // of the order: autocert has none from its caller
	next  http.RoundTripper
	heard *refusals
}

func (l *listener) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	stop := context.AfterFunc(l.ctx, cancel)
	res, err := l.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		start, err := io.ReadAll(io.LimitReader(res.Body, maxHeard))
		if err != nil {
			_ = res.Body.Close()
			stop()
			cancel()
			return nil, err
		}
		l.heard.read(start)
		res.Body = &heardBody{io.MultiReader(bytes.NewReader(start), res.Body), res.Body, nil}
	}
	res.Body = &heardBody{res.Body, res.Body, func() { stop(); cancel() }}
	return res, nil
}

// heardBody is a body that has been read in part, or that frees something.
type heardBody struct {
	io.Reader
	body  io.Closer
	close func()
}

func (b *heardBody) Close() error {
	if b.close != nil {
		b.close()
	}
	return b.body.Close()
}

// explain makes a sentence of what went wrong with an order, and says how long
// the authority wants to be left alone (0: it did not say).
func (k *Keeper) explain(name string, err error, heard *refusals) (wait time.Duration, explained error) {
	var refused *acme.Error
	if errors.As(err, &refused) {
		if wait, ok := acme.RateLimit(refused); ok {
			return max(wait, time.Minute), fmt.Errorf("%w: the certificate authority wants no more orders for now (%s)", relay.ErrLimit, detail(err))
		}
	}
	if why := heard.reason(); why != "" {
		next := "check that its DNS record points to this server and that the ports 80 and 443 can be reached from the internet"
		if strings.HasPrefix(name, "*.") {
			next = "check the DNS provider's settings, and that _acme-challenge" + name[1:] + " is answered by its zone"
		}
		return 0, fmt.Errorf("the certificate authority could not verify %s (%s); %s", name, why, next)
	}
	var unreachable *url.Error
	if errors.As(err, &unreachable) {
		why := unreachable.Err
		var op *net.OpError
		if errors.As(why, &op) {
			why = op.Err // without the port at this end, another each time
		}
		return 0, fmt.Errorf("the certificate authority at %s cannot be reached (%w); check the network of this server", k.o.Directory, why)
	}
	if refused != nil {
		return 0, fmt.Errorf("the certificate authority refuses: %s", detail(err))
	}
	return 0, err
}

// detail is what an authority says to people.
func detail(err error) string {
	var said *acme.Error
	if errors.As(err, &said) && said.Detail != "" {
		return strings.TrimSuffix(said.Detail, ".")
	}
	return err.Error()
}
