package http1_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// The grammar of chunks (rows E05, E06): what could be read in two ways is refused.
func TestChunkGrammar(t *testing.T) {
	tests := []struct {
		name, raw string
		body      string
		trailer   http.Header
		ok        bool
	}{
		{"one", "5\r\nhello\r\n0\r\n\r\n", "hello", nil, true},
		{"several", "5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n", "hello world", nil, true},
		{"none", "0\r\n\r\n", "", nil, true},
		{"hex of any case", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", nil, true},
		{"zeros before", "0000000000000005\r\nhello\r\n000\r\n\r\n", "hello", nil, true},
		{"extension", "5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n", "hello", nil, true},
		{"spaces after the size", "5 \t\r\nhello\r\n0\r\n\r\n", "hello", nil, true},
		{"CR and LF in the data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", nil, true},
		{"what looks like an end in the data", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n", nil, true},
		{"trailer", "0\r\nX-A: 1\r\nx-b: 2\r\nX-A: 3\r\n\r\n", "", http.Header{"X-A": {"1", "3"}, "X-B": {"2"}}, true},

		{"0x5", "0x5\r\nhello\r\n0\r\n\r\n", "", nil, false},
		{"-5", "-5\r\nhello\r\n0\r\n\r\n", "", nil, false},
		{"+5", "+5\r\nhello\r\n0\r\n\r\n", "", nil, false},
		{"space before", " 5\r\nhello\r\n0\r\n\r\n", "", nil, false},
		{"space before an extension", "5 ;a\r\nhello\r\n0\r\n\r\n", "", nil, false},
		{"5_0", "5_0\r\nhello\r\n0\r\n\r\n", "", nil, false},
		{"no digits", "\r\nhello\r\n0\r\n\r\n", "", nil, false},
		{"no digits but an extension", ";a\r\nhello\r\n0\r\n\r\n", "", nil, false},
		{"17 digits", "00000000000000005\r\nhello\r\n0\r\n\r\n", "", nil, false},
		{"more than an int64", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", "", nil, false},
		{"2^64 and 5", "10000000000000005\r\nhello\r\n0\r\n\r\n", "", nil, false},
		{"not hex", "5g\r\nhello\r\n0\r\n\r\n", "", nil, false},
		{"bare LF after the size", "5\nhello\r\n0\r\n\r\n", "", nil, false},
		{"bare LF after an extension", "5;\nhello\r\n0\r\n\r\n", "", nil, false},
		{"bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", "", nil, false},
		{"CR CR LF", "5\r\r\nhello\r\n0\r\n\r\n", "", nil, false},
		{"missing CRLF after the data", "5\r\nhello0\r\n\r\n", "hello", nil, false},
		{"other bytes for the CRLF", "5\r\nhelloXX0\r\n\r\n", "hello", nil, false},
		{"LF for the CRLF", "5\r\nhello\n0\r\n\r\n", "hello", nil, false},
		{"LF after the last size", "5\r\nhello\r\n0\n\r\n", "hello", nil, false},
		{"LF for the last line", "5\r\nhello\r\n0\r\n\n", "hello", nil, false},
		{"LF in the trailer", "0\r\nX-A: 1\n\r\n", "", nil, false},
		{"LF after the trailer", "0\r\nX-A: 1\r\n\n", "", nil, false},
		{"folded trailer", "0\r\nX-A: 1\r\n 2\r\n\r\n", "", nil, false},
		{"trailer without colon", "0\r\nX-A\r\n\r\n", "", nil, false},
		{
			"a trailer line that fills the buffer", "0\r\nX: " + strings.Repeat("a", 4096-len("X: ")) + "\r\nX-B: 2\r\n\r\n", "",
			http.Header{"X": {strings.Repeat("a", 4096-len("X: "))}, "X-B": {"2"}},
			true,
		},
		{
			"a trailer line that fills it to its CR", "0\r\nX: " + strings.Repeat("a", 4095-len("X: ")) + "\r\nX-B: 2\r\n\r\n", "",
			http.Header{"X": {strings.Repeat("a", 4095-len("X: "))}, "X-B": {"2"}},
			true,
		},
		{"extensions that outweigh the data", strings.Repeat("1;"+strings.Repeat("a", 900)+"\r\nx\r\n", 700) + "0\r\n\r\n", strings.Repeat("x", 18), nil, false},
	}
	for _, tt := range tests {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"at once":      func(r io.Reader) io.Reader { return r },
			"byte by byte": iotest.OneByteReader,
			"in halves":    iotest.HalfReader,
		} {
			t.Run(tt.name+", "+how, func(t *testing.T) {
				const next = "HTTP/1.1 200 OK\r\n"
				br := bufio.NewReader(wrap(strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + tt.raw + next)))
				got := readAnswer(br, "GET")
				if (got.err == nil) != tt.ok || string(got.body) != tt.body {
					t.Fatalf("got %.60q, %v; want %.60q, ok=%v", got.body, got.err, tt.body, tt.ok)
				}
				if !tt.ok {
					return
				}
				if diff := cmp.Diff(tt.trailer, got.trailer); diff != "" {
					t.Errorf("trailer (-want +got):\n%s", diff)
				}
				if rest, _ := io.ReadAll(br); string(rest) != next {
					t.Errorf("%q follows, want %q", rest, next)
				}
			})
		}
	}
}

// Chunks of one byte are how some apps stream; they must not look like an attack.
func TestManySmallChunksAreNoAttack(t *testing.T) {
	raw := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", 100_000) + "0\r\n\r\n"
	got := readAnswer(bufio.NewReader(strings.NewReader(raw)), "GET")
	if got.err != nil || len(got.body) != 100_000 {
		t.Errorf("got %d bytes, %v", len(got.body), got.err)
	}
}

// What has arrived is given on at once, also when the rest of its chunk has not.
func TestReaderDoesNotWaitForMore(t *testing.T) {
	for name, steps := range map[string][]string{
		"half a chunk":          {"a\r\nhello", "world\r\n0\r\n\r\n"},
		"a chunk":               {"5\r\nhello\r\n", "5\r\nworld\r\n", "0\r\n\r\n"},
		"a chunk without CRLF":  {"5\r\nhello", "\r\n5\r\nworld", "\r\n0\r\n\r\n"},
		"a chunk and half CRLF": {"5\r\nhello\r", "\n5\r\nworld\r", "\n0\r\n\r\n"},
		"half the last line":    {"5\r\nhello\r\n0", "\r\n", "\r\n"},
		"half the trailer":      {"5\r\nhello\r\n0\r\nX-A", ": 1\r\n", "\r\n"},
		"half a size":           {"5\r\nhello\r\n0", "5\r\nworld\r\n", "0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			next := make(chan struct{})
			a := newApp(t, func(_ int, p *peer) {
				p.request()
				p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				for _, s := range steps {
					p.say(s)
					<-next
				}
				p.gone()
			})
			p := a.pool()
			res, err := p.RoundTrip(request(t, "GET", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b := make([]byte, 100)
			var n int
			within(t, "a read of what has arrived", func() { n, err = res.Body.Read(b) })
			if err != nil || string(b[:n]) != "hello" {
				t.Errorf("got %q, %v", b[:n], err)
			}
			close(next)
			if _, err := io.ReadAll(res.Body); err != nil {
				t.Error(err)
			}
		})
	}
}

// A body in known pieces arrives as it was sent, whatever the sizes of reads.
func TestChunkedBodyByteForByte(t *testing.T) {
	var raw, want bytes.Buffer
	raw.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	for i := range 300 {
		piece := bytes.Repeat([]byte{byte(i)}, i*37%5000+1)
		want.Write(piece)
		_, _ = io.WriteString(&raw, strings.ToUpper(hex(len(piece)))+"\r\n"+string(piece)+"\r\n")
	}
	raw.WriteString("0\r\n\r\n")
	for _, size := range []int{1, 2, 3, 7, 4095, 4096, 4097, 1 << 20} {
		br := bufio.NewReader(bytes.NewReader(raw.Bytes()))
		got := readAnswerBy(br, "GET", size)
		if got.err != nil || !bytes.Equal(got.body, want.Bytes()) {
			t.Errorf("reads of %d: %d bytes, %v; want %d", size, len(got.body), got.err, want.Len())
		}
	}
}

func hex(n int) string {
	const digits = "0123456789abcdef"
	if n < 16 {
		return digits[n : n+1]
	}
	return hex(n/16) + digits[n%16:n%16+1]
}
