// Package cert has a certificate for every host that the server serves, and
// gets those that are missing.
//
// There are three sources, and the first that has one is used: the operator's
// own files, a wildcard certificate that was ordered by DNS-01, and a single
// certificate ordered by autocert with tls-alpn-01 or http-01. A handshake only
// looks up what is in hand; it never orders. Orders are made by Run, for hosts
// that Prepare was called for and for what must be renewed, one at a time for
// each host among all processes on the same store.
//
// What has been ordered lies in the store, encrypted with the server key, as do
// the account key, the answers to challenges, and the count of what was asked of
// the authority: a server that restarts in a loop does not ask again and again.
package cert

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
	"golang.org/x/net/publicsuffix"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/store"
)

// LetsEncrypt is the directory of the authority that is used by default.
const LetsEncrypt = autocert.DefaultACMEDirectory

// weekly is how many certificates Let's Encrypt issues for one registered domain
// in seven days. Renewals do not count.
const weekly = 50

// Options says what a Keeper keeps certificates for, and where from. Store and
// Domain must be set.
type Options struct {
	// Store has the cache, the account key, locks and counts.
	Store *store.Store
	// Domain is the base domain, canonical. It always has a certificate.
	Domain string
	// Held tells whether a host, canonical, may have a certificate. It is called
	// in every handshake and must be a look-up in memory. Nil: only Domain may.
	Held func(host string) bool

	// Files are the operator's own certificates.
	Files []Pair
	// Offline is for servers that use nothing but Files: nothing is ordered, and
	// Store may be nil.
	Offline bool

	// Directory is the URL of the ACME directory; empty is Let's Encrypt.
	Directory string
	// Roots are trusted for the connection to the directory; nil: those of the system.
	Roots *x509.CertPool
	// Email is told to the authority, which may write to it; it may be empty.
	Email string
	// Binding is the account at the authority that orders are made for. Some
	// authorities (ZeroSSL, Google) need one.
	Binding Binding
	// Weekly is how many new certificates the authority issues for one registered
	// domain in seven days; 0 is 50 at Let's Encrypt, and no limit elsewhere.
	Weekly int
	// Solver proves by DNS that Domain is ours, for a certificate for Domain and
	// all names one label below it. Nil: each name gets one of its own.
	Solver DNSSolver

	// Now tells the time; nil is time.Now.
	Now func() time.Time
	// Log is told about every change of state; nil is silent.
	Log *slog.Logger
}

// A Binding is an external account binding as the authority shows it: an
// identifier, and a key in base64 (URL-safe, with or without padding).
type Binding struct{ KeyID, Key string }

// A Keeper has the certificates. Make one with New.
type Keeper struct {
	o        Options
	cache    cache
	owner    string        // of locks: this process
	turn     atomic.Uint64 // makes owners of the goroutines of this process
	wildcard string        // *.Domain
	binding  *acme.ExternalAccountBinding
	answers  *autocert.Manager // answers challenges out of the cache; orders nothing
	files    atomic.Pointer[fileSet]
	roots    *http.Transport
	policy   pace

	mu    sync.Mutex
	hosts map[string]*host // those that are held, and wildcard
	wake  chan struct{}    // something in hosts wants Run's attention
	ended bool             // Run has returned
}

// A host is what is known of one host, or of the wildcard.
type host struct {
	name    string
	cert    *tls.Certificate // nil: none in hand
	renew   time.Time        // when cert is to be renewed
	looked  time.Time        // when the store had none
	looking chan struct{}    // closed when the look into the store has ended; nil: nobody looks
	unread  bool             // what the store has cannot be read

	wanted   bool          // an order is to be made
	ordering bool          // and is being made
	done     chan struct{} // closed when it has ended; nil: nobody waits
	next     time.Time     // no order before
	failed   error         // of the last order; nil when it succeeded
}

// New returns a Keeper. It reads the operator's files: an error names the file
// and what to do. The caller must call Run for anything to be ordered.
func New(o Options) (*Keeper, error) {
	if o.Directory == "" {
		o.Directory = LetsEncrypt
	}
	if o.Weekly == 0 && o.Directory == LetsEncrypt {
		o.Weekly = weekly
	}
	if o.Held == nil {
		o.Held = func(string) bool { return false }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{
		o:        o,
		owner:    rand.Text(),
		wildcard: "*." + o.Domain,
		cache:    cache{o.Store, o.Directory},
		roots:    newTransport(o.Roots),
		policy:   politePace,
		hosts:    make(map[string]*host),
		wake:     make(chan struct{}, 1),
	}
	if o.Binding != (Binding{}) {
		key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(o.Binding.Key, "="))
		if err != nil || o.Binding.KeyID == "" {
			return nil, fmt.Errorf("external account binding: give the key ID and the HMAC key exactly as the authority shows them")
		}
		k.binding = &acme.ExternalAccountBinding{KID: o.Binding.KeyID, Key: key}
	}
	k.answers = &autocert.Manager{
		Prompt: autocert.AcceptTOS,
		HostPolicy: func(_ context.Context, host string) error {
			if host, err := relay.ParseHost(host); err != nil || !k.held(host) {
				return errNotServed
			}
			return nil
		},
	}
	if !o.Offline {
		k.answers.Cache = k.cache
	}
	files, err := loadFiles(o.Files, o.Now())
	if err != nil {
		return nil, err
	}
	k.files.Store(files)
	return k, nil
}

// held tells whether the host may have a certificate of its own.
func (k *Keeper) held(host string) bool {
	return host == k.o.Domain || k.o.Held(host)
}

// source is the name of the certificate that is to be used for a host: the host
// itself, or the wildcard.
func (k *Keeper) source(host string) string {
	if k.o.Solver != nil && (host == k.o.Domain || k.below(host)) {
		return k.wildcard
	}
	return host
}

// below tells whether the host is one label below Domain.
func (k *Keeper) below(host string) bool {
	_, domain, _ := strings.Cut(host, ".")
	return domain == k.o.Domain
}

// zone is the registered domain that a host belongs to, by which authorities count.
func zone(host string) string {
	host = strings.TrimPrefix(host, "*.")
	if z, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return z
	}
	return host
}
