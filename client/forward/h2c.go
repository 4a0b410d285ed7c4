package forward

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"

	"github.com/relaytunnel/relay/internal/http1"
)

// roundTripH2C runs an exchange with a service that speaks HTTP/2 without TLS.
func (f *Forwarder) roundTripH2C(req *http.Request) (*http.Response, error) {
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code == http.StatusContinue {
				return nil
			}
			return http1.Interim(req.Context(), code, http.Header(h))
		},
	})
	out := req.Clone(ctx)
	out.RequestURI = ""
	out.URL = &url.URL{Scheme: "http", Host: f.o.Addr, Path: req.URL.Path, RawPath: req.URL.RawPath, RawQuery: req.URL.RawQuery, ForceQuery: req.URL.ForceQuery}
	out.Host = req.Host
	delete(out.Header, "Connection")
	delete(out.Header, "Transfer-Encoding")
	delete(out.Header, "Upgrade")
	out.Trailer = req.Trailer.Clone() // the announced names, without values yet
	if req.Body != http.NoBody {
		out.Body = &trailerBody{ReadCloser: req.Body, from: req, to: out}
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = nil
	}
	res, err := f.h2c.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	if len(res.Trailer) > 0 && req.Method != http.MethodHead {
		// HTTP/1.1 has trailers only after chunks.
		res.ContentLength = -1
		delete(res.Header, "Content-Length")
	}
	return res, nil
}

// trailerBody copies the trailer, which is known when the body has been read.
type trailerBody struct {
	io.ReadCloser
	from, to *http.Request
}

func (b *trailerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		for k, v := range b.from.Trailer {
			if _, announced := b.to.Trailer[k]; announced {
				b.to.Trailer[k] = v
			}
		}
	}
	return n, err
}
