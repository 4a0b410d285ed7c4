package http1_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/internal/http1"
)

// answered gives what a pool makes of the raw answer to a GET, after which the
// app closes.
func answered(t *testing.T, raw string) (*http.Response, string, error) {
	t.Helper()
	a := newApp(t, func(_ int, p *peer) {
		p.request()
		p.say(raw)
	})
	return trip(a.pool(), request(t, "GET", nil))
}

func wantBad(t *testing.T, err error) {
	t.Helper()
	var bad *http1.BadAnswerError
	if !errors.As(err, &bad) {
		t.Errorf("got %v, want a *BadAnswerError", err)
	}
}

func TestStatusLines(t *testing.T) {
	tests := []struct {
		line   string
		status int // 0: refused
	}{
		{"HTTP/1.1 200 OK", 200},
		{"HTTP/1.1 200 ", 200},
		{"HTTP/1.1 200", 200},
		{"HTTP/1.0 200 OK", 200},
		{"HTTP/1.1 200 Tout va bien \xe9\t!", 200},
		{"HTTP/1.1 299 X", 299},
		{"HTTP/1.1 599 X", 599},
		{"HTTP/1.1 404 Not Found", 404},
		{"HTTP/1.1 600 Weird", 0},
		{"HTTP/1.1 900 Relay", 0},
		{"HTTP/1.1 999 Weird", 0},
		{"HTTP/1.1 099 Weird", 0},
		{"HTTP/1.1 000 Weird", 0},
		{"HTTP/1.1 20 OK", 0},
		{"HTTP/1.1 2000 OK", 0},
		{"HTTP/1.1 20a OK", 0},
		{"HTTP/1.1 -20 OK", 0},
		{"HTTP/1.1 +20 OK", 0},
		{"HTTP/1.1  200 OK", 0},
		{"HTTP/1.1\t200 OK", 0},
		{"HTTP/1.1 200OK", 0},
		{"HTTP/1.1 200\tOK", 0},
		{"HTTP/1.1 101 Switching Protocols", 0},
		{"HTTP/1.2 200 OK", 0},
		{"HTTP/1.11 200 OK", 0},
		{"HTTP/2.0 200 OK", 0},
		{"HTTP/3 200 OK", 0},
		{"http/1.1 200 OK", 0},
		{" HTTP/1.1 200 OK", 0},
		{"\r\nHTTP/1.1 200 OK", 0},
		{"HTTP/1.1 200 O\x00K", 0},
		{"HTTP/1.1 200 O\rK", 0},
		{"HTTP/1.1 200 O\x7fK", 0},
		{"220 mail.example.com ESMTP", 0},
		{"SSH-2.0-OpenSSH_9.2", 0},
		{"", 0},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			res, _, err := answered(t, tt.line+"\r\nContent-Length: 0\r\n\r\n")
			if tt.status == 0 {
				wantBad(t, err)
			} else if err != nil || res.StatusCode != tt.status {
				t.Errorf("got %v, %v; want %d", res, err, tt.status)
			}
		})
	}
}

func TestHeadLines(t *testing.T) {
	tests := []struct {
		name, lines string
		want        http.Header // nil: refused
	}{
		{"none", "", http.Header{}},
		{"canonical", "X-A: b\r\n", http.Header{"X-A": {"b"}}},
		{"any case", "x-a: b\r\nCONTENT-type: c\r\n", http.Header{"X-A": {"b"}, "Content-Type": {"c"}}},
		{"order of values", "X-A: 1\r\nX-B: 2\r\nx-a: 3\r\nX-A: 4\r\nX-B: 5\r\n", http.Header{"X-A": {"1", "3", "4"}, "X-B": {"2", "5"}}},
		{"spaces around", "X-A:  \t b c \t \r\n", http.Header{"X-A": {"b c"}}},
		{"no space", "X-A:b\r\n", http.Header{"X-A": {"b"}}},
		{"empty value", "X-A:\r\nX-B: \r\n", http.Header{"X-A": {""}, "X-B": {""}}},
		{"colons in the value", "X-A: b:c::\r\n", http.Header{"X-A": {"b:c::"}}},
		{"bytes above ASCII", "X-A: \xe9\xff\xc3\xa9\r\n", http.Header{"X-A": {"\xe9\xff\xc3\xa9"}}},
		{"every token byte", "!#$%&'*+-.^_`|~09azAZ: b\r\n", http.Header{"!#$%&'*+-.^_`|~09azaz": {"b"}}},
		{"bare LF", "X-A: b\nX-B: c\n", http.Header{"X-A": {"b"}, "X-B": {"c"}}},

		{"no colon", "X-A\r\n", nil},
		{"no name", ": b\r\n", nil},
		{"space before the colon", "X-A : b\r\n", nil},
		{"space in the name", "X A: b\r\n", nil},
		{"tab in the name", "X\tA: b\r\n", nil},
		{"name above ASCII", "X\xc3\xa9: b\r\n", nil},
		{"folded", "X-A: b\r\n c\r\n", nil},
		{"folded with a tab", "X-A: b\r\n\tc\r\n", nil},
		{"folded at the start", " X-A: b\r\n", nil},
		{"folded Content-Length", "Content-Length:\r\n 5\r\n", nil},
		{"NUL", "X-A: b\x00c\r\n", nil},
		{"control character", "X-A: b\x01c\r\n", nil},
		{"DEL", "X-A: b\x7fc\r\n", nil},
		{"bare CR", "X-A: b\rX-B: c\r\n", nil},
		{"CR CR LF", "X-A: b\r\r\n", nil},
		{"form feed", "X-A: b\fc\r\n", nil},
		{"vertical tab before a value", "X-A:\x0bb\r\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body, err := answered(t, "HTTP/1.1 200 OK\r\n"+tt.lines+"\r\nok")
			if tt.want == nil {
				wantBad(t, err)
				return
			}
			if err != nil || body != "ok" {
				t.Fatalf("got %q, %v", body, err)
			}
			if diff := cmp.Diff(tt.want, res.Header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
		})
	}
}

// A second value of a name must not run into its neighbour's.
func TestValuesDoNotShareMemory(t *testing.T) {
	res, _, err := answered(t, "HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	res.Header.Add("X-A", "more")
	if got := res.Header.Get("X-B"); got != "2" {
		t.Errorf("X-B became %q", got)
	}
}

func TestFraming(t *testing.T) {
	const refused = "\x00"
	tests := []struct {
		name, raw string // after the status line
		body      string
	}{
		{"length", "Content-Length: 2\r\n\r\nok", "ok"},
		{"length twice the same", "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", "ok"},
		{"length with zeros before", "Content-Length: 0002\r\n\r\nok", "ok"},
		{"chunked, any case", "Transfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok"},

		{"both", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", refused},
		{"both, other order", "Transfer-Encoding: chunked\r\nContent-Length: 15\r\n\r\n5\r\nhello\r\n0\r\n\r\n", refused},
		{"two lengths", "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!", refused},
		{"same length, other digits", "Content-Length: 2\r\nContent-Length: 02\r\n\r\nok", refused},
		{"list of lengths", "Content-Length: 2, 2\r\n\r\nok", refused},
		{"+", "Content-Length: +2\r\n\r\nok", refused},
		{"-", "Content-Length: -2\r\n\r\nok", refused},
		{"hex", "Content-Length: 0x2\r\n\r\nok", refused},
		{"underscore", "Content-Length: 1_0\r\n\r\n0123456789", refused},
		{"space inside", "Content-Length: 1 0\r\n\r\n0123456789", refused},
		{"empty", "Content-Length: \r\n\r\nok", refused},
		{"overflow", "Content-Length: 99999999999999999999\r\n\r\nok", refused},
		{"2^63", "Content-Length: 9223372036854775808\r\n\r\nok", refused},
		{"xchunked", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", refused},
		{"chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", refused},
		{"chunked, chunked", "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", refused},
		{"gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", refused},
		{"identity", "Transfer-Encoding: identity\r\n\r\nok", refused},
		{"empty encoding", "Transfer-Encoding: \r\n\r\nok", refused},
		{"quoted", "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", refused},
		{"chunked;q=1", "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, body, err := answered(t, "HTTP/1.1 200 OK\r\n"+tt.raw)
			if tt.body == refused {
				wantBad(t, err)
			} else if err != nil || body != tt.body {
				t.Errorf("got %q, %v; want %q", body, err, tt.body)
			}
		})
	}
	t.Run("chunked in HTTP/1.0", func(t *testing.T) {
		_, _, err := answered(t, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
		wantBad(t, err)
	})
}

func TestHeadLimits(t *testing.T) {
	fields := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X-%d: v\r\n", i)
		}
		return b.String()
	}
	start := "HTTP/1.1 200 OK\r\n"
	fill := func(total int) string { // a head of that many bytes before its empty line
		return start + "X: " + strings.Repeat("a", total-len(start)-len("X: \r\n")) + "\r\n"
	}
	tests := []struct {
		name, raw string
		ok        bool
	}{
		{"1000 lines", start + fields(http1.MaxLines) + "\r\n", true},
		{"1001 lines", start + fields(http1.MaxLines+1) + "\r\n", false},
		{"one buffer", fill(4094) + "\r\n", true},
		{"one buffer and a byte", fill(4095) + "\r\n", true},
		{"256 KiB", fill(http1.MaxHead-2) + "\r\n", true},
		{"256 KiB and a byte", fill(http1.MaxHead-1) + "\r\n", false},
		{"a line without an end", start + strings.Repeat("a", http1.MaxHead+1), false},
		{"a status line without an end", "HTTP/1.1 200 " + strings.Repeat("a", http1.MaxHead+1), false},
		{"9 MB", start + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 9000) + "\r\n", false},
		{"chunk line of 1 KiB", start + "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("a", 1020) + "\r\nx\r\n0\r\n\r\n", true},
		{"chunk line of more", start + "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("a", 1021) + "\r\nx\r\n0\r\n\r\n", false},
		{"chunk line of a buffer", start + "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("a", 10_000) + "\r\nx\r\n0\r\n\r\n", false},
		{"trailer of 60 KiB", start + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + strings.Repeat("a", 60<<10) + "\r\n\r\n", true},
		{"trailer of 64 KiB", start + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", false},
		{"trailer of 1001 lines", start + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + fields(http1.MaxLines+1) + "\r\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := answered(t, tt.raw)
			if tt.ok && err != nil {
				t.Error(err)
			}
			if !tt.ok {
				wantBad(t, err)
			}
		})
	}
}

func TestInterimAnswers(t *testing.T) {
	hint := "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
	type interim struct {
		Status int
		Link   string
	}
	tests := []struct {
		name, raw string
		want      []interim
		refused   bool
	}{
		{"none", okAnswer, nil, false},
		{"103", hint + okAnswer, []interim{{103, "</style.css>"}}, false},
		{"102 and 103", "HTTP/1.1 102 Processing\r\n\r\n" + hint + okAnswer, []interim{{102, ""}, {103, "</style.css>"}}, false},
		{"100 is nobody's business", "HTTP/1.1 100 Continue\r\n\r\n" + okAnswer, nil, false},
		{"ten", strings.Repeat(hint, 10) + okAnswer, repeat(interim{103, "</style.css>"}, 10), false},
		{"eleven", strings.Repeat(hint, 11) + okAnswer, repeat(interim{103, "</style.css>"}, 10), true},
		{"eleven of 100", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 11) + okAnswer, nil, true},
		{"more than 64 KiB", strings.Repeat("HTTP/1.1 102 Processing\r\nX: "+strings.Repeat("a", 40<<10)+"\r\n\r\n", 2) + okAnswer, []interim{{102, ""}}, true},
		{"that frame a body", "HTTP/1.1 103 Early Hints\r\nContent-Length: junk\r\n\r\n" + okAnswer, nil, true},
	}
	for _, tt := range tests {
		for _, way := range []string{"WithInterim", "httptrace"} {
			t.Run(tt.name+" by "+way, func(t *testing.T) {
				a := newApp(t, func(_ int, p *peer) {
					p.request()
					p.say(tt.raw)
				})
				var got []interim
				see := func(status int, h http.Header) error {
					got = append(got, interim{status, h.Get("Link")})
					return nil
				}
				req := request(t, "GET", nil)
				if way == "WithInterim" {
					req = req.WithContext(http1.WithInterim(req.Context(), see))
				} else {
					req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
						Got1xxResponse: func(code int, h textproto.MIMEHeader) error { return see(code, http.Header(h)) },
					}))
				}
				_, body, err := trip(a.pool(), req)
				if tt.refused {
					wantBad(t, err)
				} else if err != nil || body != "ok" {
					t.Errorf("got %q, %v", body, err)
				}
				if !reflect.DeepEqual(got, tt.want) {
					t.Errorf("interim answers %v, want %v", got, tt.want)
				}
			})
		}
	}
	t.Run("that nobody can take", func(t *testing.T) {
		errGone := errors.New("gone")
		a := newApp(t, func(_ int, p *peer) {
			p.request()
			p.say(hint + okAnswer)
			p.gone()
		})
		p := a.pool()
		req := request(t, "GET", nil)
		req = req.WithContext(http1.WithInterim(req.Context(), func(int, http.Header) error { return errGone }))
		if _, err := p.RoundTrip(req); !errors.Is(err, errGone) {
			t.Errorf("got %v", err)
		}
	})
}

func repeat[T any](v T, n int) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = v
	}
	return all
}

func TestInterimGoesToWhoAsked(t *testing.T) {
	if err := http1.Interim(context.Background(), 103, nil); err != nil {
		t.Error(err)
	}
	errTold := errors.New("told")
	ctx := http1.WithInterim(context.Background(), func(status int, _ http.Header) error {
		if status != 103 {
			t.Errorf("status %d", status)
		}
		return errTold
	})
	if err := http1.Interim(ctx, 103, nil); !errors.Is(err, errTold) {
		t.Errorf("got %v", err)
	}
}

// What a response says of itself, as net/http would say it.
func TestAnswerIsDescribed(t *testing.T) {
	a := newApp(t, func(_ int, p *peer) {
		for {
			req, _ := p.request()
			if req == nil {
				return
			}
			switch {
			case req.Method == "HEAD":
				p.say("HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n")
			case req.URL.RawQuery == "304":
				p.say("HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\n\r\n")
			default:
				p.say("HTTP/1.1 200 Fine\r\nTrailer: X-A, Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\n\r\n")
			}
		}
	})
	p := a.pool()
	res, _, err := trip(p, request(t, "HEAD", nil))
	if err != nil || res.ContentLength != 42 {
		t.Errorf("HEAD: length %d, %v", res.ContentLength, err)
	}
	req := request(t, "GET", nil)
	req.URL.RawQuery = "304"
	if res, _, err = trip(p, req); err != nil || res.ContentLength != 42 {
		t.Errorf("304: length %d, %v", res.ContentLength, err)
	}
	res, err = p.RoundTrip(request(t, "GET", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Status != "Fine" || res.ContentLength != -1 || len(res.TransferEncoding) != 1 {
		t.Errorf("%q, length %d, %v", res.Status, res.ContentLength, res.TransferEncoding)
	}
	_, _ = io.ReadAll(res.Body)
	if !reflect.DeepEqual(res.Trailer, http.Header{"X-A": {"1"}}) {
		t.Errorf("trailer %v", res.Trailer)
	}
}
