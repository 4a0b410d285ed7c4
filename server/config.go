package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/cert"
)

// Config is what an operator decides. Validate fills in what is left empty.
type Config struct {
	// Domain is the base domain: the control host, with the tunnels one label
	// below it.
	Domain string
	// Plain serves HTTP without TLS: on this machine only, or behind a proxy that
	// does TLS.
	Plain bool
	// HTTPAddr is where plain HTTP is served. Without Plain that is only for what
	// leads to HTTPS. HTTPSAddr is where HTTPS is, and HTTP/3 by UDP.
	HTTPAddr, HTTPSAddr string
	// HTTP3 serves HTTP/3 as well.
	HTTP3 bool
	// Email is where the certificate authority writes to. ACMEServer is the address
	// of its directory, empty for Let's Encrypt; ACMECA is a file with the roots to
	// trust it by, where the system's do not do.
	Email, ACMEServer, ACMECA string
	// ACMEKeyID and ACMEKey are the account at an authority that wants one.
	ACMEKeyID, ACMEKey string
	// CertFiles and KeyFiles are the operator's own certificates, pair by pair.
	CertFiles, KeyFiles []string
	// DNSProvider is the name of who keeps the domain's DNS, for a certificate that
	// covers all names. Its settings are in the environment.
	DNSProvider string
	// DNSAddr is where the server answers DNS for its domain; empty for not at all.
	// DNSName is the name server in the NS record that leads here, empty for ns.DOMAIN.
	// PublicIPs are its addresses in these answers; none means those of the machine.
	DNSAddr, DNSName string
	PublicIPs        []netip.Addr
	// HSTS tells browsers at every name to come by HTTPS only. At the base domain
	// they are told so in any case.
	HSTS bool
	// DataDir is where the store lives.
	DataDir string
	// FirstUser is the name of the user that is made when there is none.
	FirstUser string
	// TrustedProxies are the proxies whose X-Forwarded-For and -Proto are believed.
	TrustedProxies []netip.Prefix
	// ProxyProtocol expects the trusted proxies to begin each connection with a
	// PROXY header, version 1 or 2, and nobody else to connect.
	ProxyProtocol bool
	// PublicURL is the address of the control host as visitors and agents see
	// it, where the server cannot know it: behind a proxy. Its scheme and port
	// are also those of the tunnels' URLs.
	PublicURL string
	// HoldFor is how long a request waits for an agent that was just here.
	HoldFor time.Duration
	// AnswerWithin is how long an app may take until its answer begins.
	AnswerWithin time.Duration
	// DrainFor is how long requests in flight may take when the server stops.
	DrainFor time.Duration
	// MaxBuffered bounds the bytes that wait in memory for slow visitors and
	// agents, in all; 0 takes a quarter of the memory limit.
	MaxBuffered int64
	// Version is the program's, for the API.
	Version string
	// OnReady is told when the server serves.
	OnReady func(Ready)
	Log     *slog.Logger
}

// LetsEncrypt is the ACME directory of the certificate authority that is asked where
// none is named.
const LetsEncrypt = cert.LetsEncrypt

// Ready says where a server serves. Token is set only on the very first start.
type Ready struct {
	URL      string
	Domain   string
	HTTPAddr string
	// HTTPSAddr and DNSAddr are empty where none is served.
	HTTPSAddr, DNSAddr string

	User  string
	Token string
}

// Validate checks the configuration and fills in defaults. Its errors are for
// the operator.
func (c *Config) Validate() error {
	host, err := relay.ParseHost(c.Domain)
	if err != nil {
		return fmt.Errorf("domain %q: %w", c.Domain, err)
	}
	if host != strings.ToLower(c.Domain) || strings.HasPrefix(host, "[") {
		return fmt.Errorf("domain %q: give a name without port, like relay.example.com", c.Domain)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return fmt.Errorf("domain %q: tunnels need a name, an address has none below it", c.Domain)
	}
	c.Domain = host
	if c.HTTPAddr == "" {
		c.HTTPAddr = ":80"
	}
	if c.HTTPSAddr == "" {
		c.HTTPSAddr = ":443"
	}
	for flag, addr := range map[string]string{"--http-addr": c.HTTPAddr, "--https-addr": c.HTTPSAddr} {
		if _, port, err := net.SplitHostPort(addr); err != nil || !validPort(port) {
			return fmt.Errorf("%s %s: give an address like 127.0.0.1:8080 or :80", flag, addr)
		}
	}
	if c.DNSAddr != "" {
		if _, port, err := net.SplitHostPort(c.DNSAddr); err != nil || !validPort(port) {
			return fmt.Errorf("--dns-addr %s: give an address like :53", c.DNSAddr)
		}
	}
	if c.DNSAddr != "" && c.DNSProvider != "" {
		return errors.New("--dns and --dns-provider: leave one out; either proves that the domain is yours")
	}
	if len(c.CertFiles) != len(c.KeyFiles) {
		return fmt.Errorf("%d times --tls-cert and %d times --tls-key: give one key for each certificate, in the same order", len(c.CertFiles), len(c.KeyFiles))
	}
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 {
		return errors.New("--proxy-protocol: say with --trusted-proxy which proxies may speak it")
	}
	if c.FirstUser == "" {
		c.FirstUser = "me"
	}
	if c.HoldFor == 0 {
		c.HoldFor = 5 * time.Second
	}
	if c.AnswerWithin == 0 {
		c.AnswerWithin = 10 * time.Minute
	}
	if c.DrainFor == 0 {
		c.DrainFor = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.DataDir == "" {
		return fmt.Errorf("no data folder: say where with --data")
	}
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() != c.Domain || strings.Trim(u.Path, "/") != "" {
			return fmt.Errorf("public URL %q: it must be http or https and name the domain, like https://%s", c.PublicURL, c.Domain)
		}
	} else if c.Plain && len(c.TrustedProxies) > 0 {
		c.PublicURL = "https://" + c.Domain
	}
	return nil
}

func validPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && n <= 65535
}
