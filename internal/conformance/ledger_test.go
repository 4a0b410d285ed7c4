package conformance

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A ledger is an app that writes down what it was sent, byte for byte, and is as strict as the grammar: what it objects to, a
// lax app would have taken for something else than the edge did. It answers every clean request with 200 and its raw target.
type ledger struct {
	mu   sync.Mutex
	seen []*sighting
}

// A sighting is one request as it reached the app.
type sighting struct {
	raw      string // the head
	method   string
	target   string
	proto    string
	fields   [][2]string
	body     []byte
	trailers [][2]string
	whole    bool   // the body ended as its framing says
	fault    string // the first breach of grammar
}

func (s *sighting) String() string {
	return fmt.Sprintf("whole=%v fault=%q body=%.100q trailers=%q head=%.2000q", s.whole, s.fault, s.body, s.trailers, s.raw)
}

// values are all values of a field, in order, by case-insensitive name.
func (s *sighting) values(name string) (vv []string) {
	for _, f := range s.fields {
		if strings.EqualFold(f[0], name) {
			vv = append(vv, f[1])
		}
	}
	return vv
}

// value is the single value of a field; "" when there is none, all of them joined by "|" when there are several.
func (s *sighting) value(name string) string { return strings.Join(s.values(name), "|") }

func newLedger() *ledger { return new(ledger) }

func (l *ledger) open(t *testing.T) string { return bytesApp(l.serve)(t) }

func (l *ledger) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		s := readRequest(r, func(s *sighting) {
			l.note(s)
			if strings.EqualFold(s.value("Expect"), "100-continue") {
				io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			}
		}, &l.mu)
		if s == nil {
			return
		}
		if s.fault != "" || !s.whole {
			fmt.Fprintf(c, "HTTP/1.1 400 Bad Request\r\nX-Fault: %q\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", s.fault)
			return
		}
		body := "app saw " + s.target + "\n"
		head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", len(body))
		if s.method == "HEAD" {
			body = ""
		}
		if _, err := io.WriteString(c, head+body); err != nil {
			return
		}
	}
}

func (l *ledger) note(s *sighting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, s)
}

// take returns what was seen since the last take.
func (l *ledger) take() []*sighting {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*sighting
	for _, s := range l.seen {
		c := *s // the connection's goroutine may still be writing to s
		out = append(out, &c)
	}
	l.seen = nil
	return out
}

// readRequest reads one request; nil when the connection ends between requests. head is called once the head is there, before
// the body is read; mu guards the sighting after that.
func readRequest(r *bufio.Reader, head func(*sighting), mu *sync.Mutex) *sighting {
	s := new(sighting)
	var raw bytes.Buffer
	for !bytes.HasSuffix(raw.Bytes(), []byte("\r\n\r\n")) {
		b, err := r.ReadByte()
		if err != nil {
			if raw.Len() == 0 {
				return nil
			}
			s.raw, s.fault = raw.String(), "head: "+err.Error()
			head(s)
			return s
		}
		raw.WriteByte(b)
		if raw.Len() > 4<<20 {
			s.raw, s.fault = raw.String()[:1000], "head above 4 MB"
			head(s)
			return s
		}
	}
	s.raw = raw.String()
	s.parseHead()
	head(s)
	if s.fault != "" {
		return s
	}
	body, trailers, fault := s.readBody(r)
	mu.Lock()
	defer mu.Unlock()
	s.body, s.trailers, s.fault = body, trailers, fault
	s.whole = fault == ""
	return s
}

func (s *sighting) object(format string, a ...any) {
	if s.fault == "" {
		s.fault = fmt.Sprintf(format, a...)
	}
}

func (s *sighting) parseHead() {
	lines := strings.Split(strings.TrimSuffix(s.raw, "\r\n\r\n"), "\r\n")
	parts := strings.Split(lines[0], " ")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || !slices.Contains([]string{"HTTP/1.1", "HTTP/1.0"}, parts[2]) {
		s.object("request line %q", lines[0])
		return
	}
	s.method, s.target, s.proto = parts[0], parts[1], parts[2]
	for _, line := range lines {
		for _, c := range []byte(line) {
			if c < ' ' && c != '\t' || c == 0x7f {
				s.object("control byte %#x in %.200q", c, line)
			}
		}
	}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.Trim(name, tokenChars) != "" {
			s.object("field line %.200q", line)
			continue
		}
		s.fields = append(s.fields, [2]string{name, strings.Trim(value, " \t")})
	}
	if s.proto == "HTTP/1.1" && len(s.values("Host")) != 1 {
		s.object("%d Host lines", len(s.values("Host")))
	}
	// What a lax app could take for framing must not be there beside the framing.
	for _, f := range s.fields {
		plain := strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(f[0]))
		if plain != strings.ToLower(f[0]) && (plain == "transfer-encoding" || plain == "content-length") {
			s.object("a double of a framing field: %q", f[0])
		}
	}
	te, cl := s.values("Transfer-Encoding"), s.values("Content-Length")
	switch {
	case len(te) > 0 && len(cl) > 0:
		s.object("both Transfer-Encoding and Content-Length")
	case len(te) > 1 || len(te) == 1 && !strings.EqualFold(te[0], "chunked"):
		s.object("Transfer-Encoding %q", te)
	case len(te) == 1 && s.proto == "HTTP/1.0":
		s.object("Transfer-Encoding in HTTP/1.0")
	case len(cl) > 1 || len(cl) == 1 && (cl[0] == "" || strings.Trim(cl[0], "0123456789") != ""):
		s.object("Content-Length %q", cl)
	}
}

const tokenChars = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func (s *sighting) readBody(r *bufio.Reader) (body []byte, trailers [][2]string, fault string) {
	if cl := s.value("Content-Length"); cl != "" {
		n, err := strconv.ParseInt(cl, 10, 63)
		if err != nil {
			return nil, nil, err.Error()
		}
		body, err = io.ReadAll(io.LimitReader(r, n))
		if err == nil && int64(len(body)) < n {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return body, nil, "body: " + err.Error()
		}
		return body, nil, ""
	}
	if s.value("Transfer-Encoding") == "" {
		return nil, nil, ""
	}
	line := func() (string, error) {
		l, err := r.ReadString('\n')
		if err == nil && !strings.HasSuffix(l, "\r\n") {
			err = fmt.Errorf("line without CRLF: %q", l)
		}
		return strings.TrimSuffix(l, "\r\n"), err
	}
	for {
		size, err := line()
		if err != nil {
			return body, nil, "chunk size: " + err.Error()
		}
		n, err := strconv.ParseUint(size, 16, 63)
		if err != nil || len(size) > 16 || strings.Trim(size, "0123456789abcdefABCDEF") != "" {
			return body, nil, fmt.Sprintf("chunk size %.100q", size)
		}
		if n == 0 {
			break
		}
		chunk := make([]byte, n)
		if _, err := io.ReadFull(r, chunk); err != nil {
			return body, nil, "chunk: " + err.Error()
		}
		body = append(body, chunk...)
		if end, err := line(); err != nil || end != "" {
			return body, nil, fmt.Sprintf("chunk end %q, %v", end, err)
		}
	}
	for {
		l, err := line()
		if err != nil {
			return body, nil, "trailer: " + err.Error()
		}
		if l == "" {
			return body, trailers, ""
		}
		name, value, ok := strings.Cut(l, ":")
		if !ok || name == "" || strings.Trim(name, tokenChars) != "" {
			return body, nil, fmt.Sprintf("trailer line %q", l)
		}
		trailers = append(trailers, [2]string{name, strings.Trim(value, " \t")})
	}
}
