package main

import (
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// hopMain is the reference hop: Go's own reverse proxy, tuned as far as its
// options allow, with buffers from a pool and idle connections for everyone.
func hopMain(args []string) error {
	if len(args) != 1 {
		return errors.New("child hop wants one argument: the address behind it")
	}
	target := &url.URL{Scheme: "http", Host: args[0]}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 4096,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true,
		},
		BufferPool: copyBuffers{},
	}
	ln, err := listen()
	if err != nil {
		return err
	}
	srv := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Without this the server closes the request's body when the answer begins,
			// and answers of apps that are quicker than the transport get lost.
			_ = http.NewResponseController(w).EnableFullDuplex()
			proxy.ServeHTTP(w, r)
		}),
	}
	return srv.Serve(ln)
}

// copyBuffers lends the shared buffers to the proxy.
type copyBuffers struct{}

func (copyBuffers) Get() []byte  { return *buffers.Get().(*[]byte) }
func (copyBuffers) Put(b []byte) { buffers.Put(&b) }
