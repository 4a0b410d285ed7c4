package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/relaytunnel/relay/internal/relay"
)

// Probe tries the public way to a tunnel's URL, as any visitor would go it: DNS,
// the connection, the certificate, the server, the name. It returns nil when the
// server behind the URL says that the tunnel is live; otherwise the error says in
// words for people what does not work yet. The app is not asked.
func (c *Client) Probe(ctx context.Context, url string) error {
	// A clone: the transport adds protocols to it that a link does not speak.
	tr := &http.Transport{DialContext: c.o.DialContext, Proxy: c.o.Proxy, TLSClientConfig: c.o.TLS.Clone(), DisableKeepAlives: true, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+relay.ProbePath, nil)
	if err != nil {
		return err
	}
	if c.o.Software != "" {
		req.Header.Set("User-Agent", c.o.Software)
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return probeError(err)
	}
	_ = res.Body.Close()
	switch state := res.Header.Get(relay.ProbeHeader); {
	case state == relay.ProbeLive:
		return nil
	case state == relay.ProbeAway:
		return errors.New("the server there does not know yet that this agent is connected")
	case res.Header.Get("Relay-Error") == "unknown_name":
		return errors.New("the server there does not know the name")
	}
	return fmt.Errorf("something else than the relay server answers there (%s)", res.Status)
}

// probeError says what is wrong with a name or certificate.
func probeError(err error) error {
	var (
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		host    x509.HostnameError
		record  tls.RecordHeaderError
		alert   tls.AlertError
	)
	switch {
	case errors.As(err, &unknown):
		return errors.New("its certificate is of an authority that this machine does not trust")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return errors.New("its certificate has expired")
	case errors.As(err, &host):
		return errors.New("its certificate is for another name")
	case errors.As(err, &record):
		return errors.New("it does not speak TLS")
	case errors.As(err, &alert):
		return errors.New("it has no certificate for the name yet")
	}
	return Plainly(err)
}
