package edge

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/relaytunnel/relay/internal/http1"
)

// quickWriter is the http.ResponseWriter of Front: it renders the answer into
// one buffer and writes it when told to, or when it is complete.
type quickWriter struct {
	c       *conn
	h       http.Header
	buf     *[]byte
	status  int // 0 until the head is rendered
	none    bool
	chunked bool
	close   bool
	left    int64 // of a body of known length
	err     error
	head    bool // HEAD
	// deadlined tells that the read deadline is not what Front has set.
	deadlined bool
}

const quickBuffer = 36 << 10

var quickBuffers = sync.Pool{New: func() any { b := make([]byte, 0, quickBuffer); return &b }}

func (w *quickWriter) reset(c *conn, method string) {
	h := w.h
	if h == nil {
		h = make(http.Header, 16)
	}
	clear(h)
	*w = quickWriter{c: c, h: h, head: method == http.MethodHead, buf: quickBuffers.Get().(*[]byte), deadlined: w.deadlined}
}

// Header is that of the answer.
func (w *quickWriter) Header() http.Header { return w.h }

// WriteHeader renders the head; an interim one leaves at once.
func (w *quickWriter) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	interim := status < 200
	b := append(*w.buf, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, "\r\n"...)
	if !interim {
		w.status = status
		w.close = hasClose(w.h["Connection"])
		b = w.appendFraming(b)
		if _, ok := w.h["Date"]; !ok {
			b = append(b, "Date: "...)
			b = append(b, dateNow()...)
			b = append(b, "\r\n"...)
		}
	}
	var err error
	if b, err = http1.AppendFields(b, w.h); err != nil {
		w.err = err
	}
	for _, v := range w.h["Trailer"] {
		b = append(b, "Trailer: "...)
		b = append(b, v...)
		b = append(b, "\r\n"...)
	}
	*w.buf = append(b, "\r\n"...)
	if interim {
		w.Flush()
	}
}

// appendFraming says how long the body is.
func (w *quickWriter) appendFraming(b []byte) []byte {
	w.none = w.head || w.status == http.StatusNoContent || w.status == http.StatusNotModified
	if cl := w.h["Content-Length"]; len(cl) == 1 {
		n, err := strconv.ParseInt(cl[0], 10, 64)
		if err != nil || n < 0 {
			w.err = errLength
		}
		if !w.none {
			w.left = n
		}
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, n, 10)
		return append(b, "\r\n"...)
	}
	if w.none {
		return b
	}
	w.chunked = true
	return append(b, "Transfer-Encoding: chunked\r\n"...)
}

// Write adds to the body.
func (w *quickWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.err != nil:
		return 0, w.err
	case w.none || len(p) == 0:
		return len(p), nil
	case w.chunked:
		*w.buf = strconv.AppendInt(*w.buf, int64(len(p)), 16)
		*w.buf = append(*w.buf, "\r\n"...)
		w.add(p)
		*w.buf = append(*w.buf, "\r\n"...)
	case int64(len(p)) > w.left:
		w.err = http.ErrContentLength
	default:
		w.left -= int64(len(p))
		w.add(p)
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// add buffers p, or sends it on when there is too much.
func (w *quickWriter) add(p []byte) {
	if len(*w.buf)+len(p)+8 > quickBuffer {
		w.Flush()
		if len(p) > quickBuffer/2 && w.err == nil {
			_, w.err = w.c.Write(p)
			return
		}
	}
	*w.buf = append(*w.buf, p...)
}

// Flush sends what is there.
func (w *quickWriter) Flush() { _ = w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *quickWriter) FlushError() error {
	if w.status == 0 && len(*w.buf) == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.err == nil && len(*w.buf) > 0 {
		_, w.err = w.c.Write(*w.buf)
	}
	*w.buf = (*w.buf)[:0]
	return w.err
}

// SetReadDeadline is for http.ResponseController.
func (w *quickWriter) SetReadDeadline(t time.Time) error {
	w.deadlined = true
	return w.c.SetReadDeadline(t)
}

// SetWriteDeadline bounds writes.
func (w *quickWriter) SetWriteDeadline(t time.Time) error { return w.c.SetWriteDeadline(t) }

// EnableFullDuplex is for http.ResponseController; here it is always so.
func (w *quickWriter) EnableFullDuplex() error { return nil }

// finish completes the answer. keep tells whether it was whole and leaves the
// connection fit for another.
func (w *quickWriter) finish() (keep bool) {
	if w.status == 0 {
		w.h["Content-Length"] = []string{"0"}
		w.WriteHeader(http.StatusOK)
	}
	if w.chunked {
		*w.buf = http1.AppendTrailer(*w.buf, w.trailer())
	}
	err := w.FlushError()
	w.release()
	return err == nil && w.left == 0 && !w.close
}

// trailer collects what was set after the head, as net/http has it.
func (w *quickWriter) trailer() http.Header {
	var t http.Header
	set := func(k string, vs []string) {
		if t == nil {
			t = http.Header{}
		}
		t[k] = vs
	}
	for k, vs := range w.h {
		if name, ok := strings.CutPrefix(k, http.TrailerPrefix); ok {
			set(name, vs)
		}
	}
	for _, v := range w.h["Trailer"] {
		for v != "" {
			var name string
			name, v, _ = cut(v)
			if key := http.CanonicalHeaderKey(name); w.h[key] != nil {
				set(key, w.h[key])
			}
		}
	}
	return t
}

// drop gives up an answer that cannot be completed.
func (w *quickWriter) drop() {
	if w.status != 0 && w.buf != nil {
		w.Flush() // what was promised so far; the end that follows is no clean one
	}
	w.release()
}

func (w *quickWriter) release() {
	if w.buf != nil && cap(*w.buf) <= 2*quickBuffer {
		*w.buf = (*w.buf)[:0]
		quickBuffers.Put(w.buf)
	}
	w.buf = nil
}

func hasClose(vs []string) bool {
	for _, v := range vs {
		if strings.EqualFold(v, "close") {
			return true
		}
	}
	return false
}

var errLength = errors.New("the app sent a Content-Length that is no number")

// dateNow is the Date of an answer, rendered once a second.
func dateNow() string {
	now := time.Now().UTC()
	if d := lastDate.Load(); d != nil && d.unix == now.Unix() {
		return d.text
	}
	d := &dated{now.Unix(), now.Format(http.TimeFormat)}
	lastDate.Store(d)
	return d.text
}

type dated struct {
	unix int64
	text string
}

var lastDate atomic.Pointer[dated]
