package cert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/store"
)

// orderTime bounds an order, with all that the authority has to check.
const orderTime = 5 * time.Minute

// obtain gets a certificate for a name, from the store when another process has
// put a fresh one there, or by an order. When it fails, next says before when not
// to try again.
//
// The failure is written down before the order begins: a process that dies in
// the middle finds it at its next start and waits.
func (k *Keeper) obtain(ctx context.Context, name string) (_ *tls.Certificate, next time.Time, err error) {
	ctx, unlock, err := k.lock(ctx, "cert/"+name)
	if err != nil {
		return nil, k.o.Now().Add(k.policy.first), err
	}
	defer unlock()
	old, err := k.cache.load(ctx, name)
	if err == nil && k.o.Now().Before(renewal(old)) {
		return old, time.Time{}, nil
	}
	before, err := k.o.Store.CertTry(ctx, k.o.Directory, name)
	if err != nil {
		return nil, k.o.Now().Add(k.policy.first), err
	}
	now := k.o.Now()
	if wait := before.Next.Sub(now); wait > 0 && wait <= week { // longer: the clock was wrong then
		return nil, before.Next, remembered(before)
	}
	if old == nil {
		if until, err := k.room(ctx, name, now); err != nil {
			return nil, until, err
		}
	}
	try := before
	try.Failures++
	try.Next = now.Add(k.pause(try.Failures))
	try.Error = "the server stopped during the last order"
	if err := k.o.Store.SetCertTry(ctx, try); err != nil {
		return nil, try.Next, err
	}
	cert, heard, err := k.order(ctx, name)
	stopped := ctx.Err() != nil
	ctx, cancel := k.late(ctx)
	defer cancel()
	switch {
	case err == nil:
		return cert, time.Time{}, k.succeeded(ctx, name, old != nil)
	case stopped: // not the authority's fault, nor the host's
		return nil, before.Next, errors.Join(err, k.o.Store.SetCertTry(ctx, before))
	}
	wait, err := k.explain(name, err, heard)
	try.Error = err.Error()
	if until := k.o.Now().Add(max(wait, k.pause(try.Failures))); until.After(try.Next) {
		try.Next = until
	}
	if until, err := k.refused(ctx, name, heard.count()); err == nil && until.After(try.Next) {
		try.Next = until
	}
	return nil, try.Next, errors.Join(err, k.o.Store.SetCertTry(ctx, try))
}

// remembered is the error of an earlier try, with the kind that it had.
func remembered(t store.CertTry) error {
	if rest, ok := strings.CutPrefix(t.Error, relay.ErrLimit.Error()); ok {
		return fmt.Errorf("%w%s", relay.ErrLimit, rest)
	}
	return errors.New(t.Error)
}

// pause is how long to wait after so many failures in a row.
func (k *Keeper) pause(failures int) time.Duration {
	d := k.policy.first << min(failures-1, 16)
	d = min(d, k.policy.most)
	return d + time.Duration(rand.Int64N(int64(d)/10+1))
}

// order orders a certificate. It has ctx for as long as the lock is kept.
func (k *Keeper) order(ctx context.Context, name string) (*tls.Certificate, *refusals, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	client, heard, err := k.client(ctx)
	if err != nil {
		return nil, &refusals{}, err
	}
	if name == k.wildcard {
		cert, err := k.orderWildcard(ctx, client)
		return cert, heard, err
	}
	cert, err := k.orderSingle(ctx, client, name)
	return cert, heard, err
}

// orderSingle lets autocert order one certificate. autocert would also renew it,
// when it likes and without the lock; so it gets a Manager for one order, which
// is over when the certificate is there.
func (k *Keeper) orderSingle(ctx context.Context, client *acme.Client, name string) (*tls.Certificate, error) {
	once := &orderCache{cache: k.cache, name: name}
	defer once.over.Store(true)
	m := &autocert.Manager{
		Prompt:                 autocert.AcceptTOS,
		Cache:                  once,
		HostPolicy:             autocert.HostWhitelist(name),
		Client:                 client,
		Email:                  k.o.Email,
		ExternalAccountBinding: k.binding,
	}
	m.HTTPHandler(nil) // it tries http-01 only after this; answers come out of the cache
	cert, err := m.GetCertificate(&tls.ClientHelloInfo{
		ServerName:   name,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, // an ECDSA key
	})
	if err != nil {
		return nil, err
	}
	if once.failed != nil { // autocert does not look
		return nil, fmt.Errorf("keep the certificate: %w", once.failed)
	}
	return cert, nil
}

// orderCache is the cache of one order. It hides what the store has for the host,
// because that is what is to be renewed.
type orderCache struct {
	cache
	name   string
	failed error // to keep the certificate
	over   atomic.Bool
}

func (c *orderCache) Get(ctx context.Context, key string) ([]byte, error) {
	if c.over.Load() {
		// The timer by which autocert renews begins with a look into its cache,
		// on a goroutine of its own. That ends here, and the timer with it.
		runtime.Goexit()
	}
	if key == c.name {
		return nil, autocert.ErrCacheMiss
	}
	return c.cache.Get(ctx, key)
}

func (c *orderCache) Put(ctx context.Context, key string, data []byte) error {
	err := c.cache.Put(ctx, key, data)
	if key == c.name {
		c.failed = err
	}
	return err
}

// succeeded writes down that there is a certificate.
func (k *Keeper) succeeded(ctx context.Context, name string, renewed bool) error {
	outcome := store.CertNew
	if renewed {
		outcome = store.CertRenewed
	}
	return errors.Join(
		k.count(ctx, name, outcome),
		k.o.Store.DeleteCertTry(ctx, k.o.Directory, name),
	)
}
