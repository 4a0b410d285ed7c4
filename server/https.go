package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/relaytunnel/relay/server/edge"
)

// hsts is what the control host tells browsers: only by TLS, for a year. It speaks
// for no other name.
const hsts = "max-age=31536000"

// httpServer serves what the front does not: HTTP/2, and HTTP/1.1 with something
// special about it. The same settings serve TLS.
func (s *Server) httpServer(h http.Handler) *http.Server {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:   h,
		Protocols: &p,
		// OPTIONS * is the app's to answer.
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            edge.HeaderTimeout, // of the TLS handshake as well
		IdleTimeout:                  edge.IdleTimeout,
		MaxHeaderBytes:               edge.MaxHeaderBytes,
		ConnContext:                  edge.ConnContext,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          100,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   15 * time.Second,
			WriteByteTimeout:              time.Minute,
		},
	}
}

// http3Server serves the same by QUIC, with limits like those of HTTP/2.
func (s *Server) http3Server(t *tls.Config) *http3.Server {
	return &http3.Server{
		Handler:        s.edge,
		TLSConfig:      http3.ConfigureTLSConfig(t),
		MaxHeaderBytes: edge.MaxHeaderBytes,
		IdleTimeout:    edge.IdleTimeout,
		Logger:         s.log,
		QUICConfig: &quic.Config{
			HandshakeIdleTimeout:           edge.HeaderTimeout,
			MaxIdleTimeout:                 edge.IdleTimeout,
			MaxIncomingStreams:             100,
			MaxIncomingUniStreams:          8, // three are HTTP/3's own
			InitialStreamReceiveWindow:     256 << 10,
			MaxStreamReceiveWindow:         1 << 20,
			InitialConnectionReceiveWindow: 512 << 10,
			MaxConnectionReceiveWindow:     4 << 20,
			KeepAlivePeriod:                0,     // the visitor's affair
			Allow0RTT:                      false, // a request in it can be replayed
		},
	}
}

// serveQUIC serves HTTP/3 until ctx ends; then requests in flight get as long as
// drain says. A visitor must show that its address is its own when handshakes are
// many, so that nobody is flooded by our answers.
func (s *Server) serveQUIC(ctx, drain context.Context, srv *http3.Server, c net.PacketConn) error {
	tr := &quic.Transport{Conn: c, VerifySourceAddress: newBusy(time.Now).busy}
	defer func() { _ = tr.Close() }()
	ln, err := tr.ListenEarly(srv.TLSConfig, srv.QUICConfig)
	if err != nil {
		return fmt.Errorf("serve HTTP/3: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.ServeListener(ln) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve HTTP/3: %w", err)
	case <-ctx.Done():
	}
	_ = srv.Shutdown(drain)
	_ = srv.Close()
	_ = ln.Close()
	if err := <-done; err != nil {
		s.log.Debug("HTTP/3 has ended", "err", err) // by the Close above
	}
	return nil
}

// altSvc is how an answer by TCP tells of HTTP/3 at the same port.
func altSvc(public *url.URL) string {
	port := public.Port()
	if port == "" {
		port = "443"
	}
	return `h3=":` + port + `"; ma=86400`
}

// secure adds to answers by TLS what tells of HTTP/3 and of TLS only.
func (s *Server) secure(h http.Header, host string) {
	if s.altSvc != "" {
		h["Alt-Svc"] = []string{s.altSvc}
	}
	if host == s.c.Domain || s.c.HSTS {
		h["Strict-Transport-Security"] = []string{hsts}
	}
}

// redirector answers plain HTTP where there is HTTPS: the same host and target
// there, with 308, so that a POST stays one. Hosts that lead nowhere are told so,
// and are sent nowhere.
func (s *Server) redirector() http.Handler {
	handler := http.HandlerFunc(s.redirect)
	return edge.New(edge.Options{
		Resolve: func(host string) edge.Target {
			if t := s.resolve(host); t.Known || t.Handler != nil || t.Tunnel != nil {
				return edge.Target{Handler: handler}
			}
			return edge.Target{}
		},
		Trusted: s.c.TrustedProxies, Log: s.log,
	})
}

func (s *Server) redirect(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" { // of whoever watches the machine
		s.control.ServeHTTP(w, r)
		return
	}
	host := r.Host // canonical
	if i := strings.LastIndexByte(host, ':'); i > 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	if isAddress(host) {
		host = s.c.Domain
	}
	if port := s.public.Port(); port != "" {
		host = net.JoinHostPort(host, port)
	}
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") {
		target = "/" // an absolute target, or *
		if r.URL.Host != "" {
			target = r.URL.RequestURI()
		}
	}
	w.Header().Set("Location", "https://"+host+target)
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusPermanentRedirect)
}

// covers tells whether the certificate that is shown for one host is good for
// another.
func (s *Server) covers(shown, host string) bool {
	if s.tls == nil {
		return false
	}
	cert, err := s.tls.GetCertificate(&tls.ClientHelloInfo{ServerName: shown})
	return err == nil && cert.Leaf != nil && cert.Leaf.VerifyHostname(host) == nil
}

// serveTLS serves HTTPS, HTTP/3 beside it, and on the plain door what leads there.
func (s *Server) serveTLS(l *life, d *doors) {
	srv := s.httpServer(s.edge)
	srv.TLSConfig = s.tls.Clone() // ServeTLS changes it
	l.serve("serve "+d.https.Addr().String(), func() error { return serve(srv, s.edge.Listener(d.https, maxConns()), true) })
	plain := s.httpServer(s.certs.HTTPHandler(s.redirector()))
	l.serve("serve "+d.http.Addr().String(), func() error { return serve(plain, s.edge.Listener(d.http, maxConns()), false) })
	l.serve("stop HTTP", func() error {
		<-l.open.Done()
		var stopping sync.WaitGroup
		for _, one := range []*http.Server{srv, plain} {
			stopping.Go(func() { shutdown(l.drain, one) })
		}
		stopping.Wait()
		return nil
	})
	if d.quic != nil {
		h3 := s.http3Server(s.tls.Clone())
		l.serve("serve HTTP/3", func() error { return s.serveQUIC(l.open, l.drain, h3, d.quic) })
	}
	l.run("certificates", func() error { return s.certs.Run(l.ctx) })
}

// serve serves until Shutdown.
func serve(srv *http.Server, ln net.Listener, byTLS bool) (err error) {
	if byTLS {
		err = srv.ServeTLS(ln, "", "") // the certificates are the configuration's
	} else {
		err = srv.Serve(ln)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
