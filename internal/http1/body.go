package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
)

const (
	// maxChunkLine bounds a chunk-size line with its extensions.
	maxChunkLine = 1 << 10
	// maxTrailers bounds the trailer section.
	maxTrailers = 64 << 10
)

// bodyReader reads a body by its framing. Read returns io.EOF with the last
// bytes where that can be known without waiting, so that a small answer is
// complete after one Read.
type bodyReader struct {
	br       *bufio.Reader
	framing  framing
	left     int64 // of the body, or of the chunk
	inChunk  bool
	overhead int64 // bytes of chunk lines, less a share of the data
	trailer  *http.Header
	done     bool
	err      error
}

func newBody(br *bufio.Reader, f framing, trailer *http.Header) *bodyReader {
	b := &bodyReader{br: br, framing: f, trailer: trailer}
	if !f.chunked {
		b.left = f.length
		b.done = f.length == 0
	}
	return b
}

// buffered is how many bytes of the body can be read without waiting, at least.
func (b *bodyReader) buffered() int {
	if b.done || b.err != nil {
		return 0 // the connection may serve another exchange by now
	}
	n := b.br.Buffered()
	if b.framing.chunked || b.framing.length < 0 {
		if n > 0 && !b.done {
			return n
		}
		return 0
	}
	return int(min(int64(n), b.left))
}

func (b *bodyReader) Read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.done:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	case b.framing.chunked:
		return b.readChunked(p)
	case b.framing.length < 0: // until the connection ends
		n, err := b.br.Read(p)
		if errors.Is(err, io.EOF) {
			b.done = true
		} else if err != nil {
			b.err = err
		}
		return n, err
	}
	n, err := b.br.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if b.left == 0 {
		b.done = true
		return n, io.EOF
	}
	if err != nil {
		return n, b.fail(err)
	}
	return n, nil
}

func (b *bodyReader) fail(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errTruncated
	}
	b.err = err
	return err
}

func (b *bodyReader) readChunked(p []byte) (int, error) {
	total := 0
	for {
		if !b.inChunk {
			if total > 0 && !b.lineBuffered() {
				return total, nil
			}
			size, err := b.chunkSize()
			if err != nil {
				return total, b.fail(err)
			}
			if size == 0 {
				if err := b.readTrailer(); err != nil {
					return total, b.fail(err)
				}
				b.done = true
				return total, io.EOF
			}
			b.left, b.inChunk = size, true
		}
		if b.left > 0 {
			if total == len(p) || total > 0 && b.br.Buffered() == 0 {
				return total, nil
			}
			n, err := b.br.Read(p[total:min(int64(len(p)), int64(total)+b.left)])
			total += n
			b.left -= int64(n)
			if err != nil {
				return total, b.fail(err)
			}
		}
		if b.left == 0 {
			if total > 0 && b.br.Buffered() < 2 {
				return total, nil // the CRLF is read next time
			}
			if err := b.chunkEnd(); err != nil {
				return total, b.fail(err)
			}
			b.inChunk = false
		}
	}
}

// lineBuffered tells whether the next chunk line can be read without waiting,
// and, if it is the last chunk, its trailer section too.
func (b *bodyReader) lineBuffered() bool {
	buf, _ := b.br.Peek(b.br.Buffered())
	i := bytes.IndexByte(buf, '\n')
	if i < 0 {
		return false
	}
	if buf[0] != '0' {
		return true
	}
	end, _ := headEnd(buf, i)
	return end >= 0
}

func (b *bodyReader) chunkEnd() error {
	var crlf [2]byte
	if _, err := io.ReadFull(b.br, crlf[:]); err != nil {
		return err
	}
	if crlf != [2]byte{'\r', '\n'} {
		return badAnswer("a chunk longer than its size")
	}
	return nil
}

// chunkSize reads a chunk line: 1 to 16 hex digits, then extensions, CRLF.
func (b *bodyReader) chunkSize() (int64, error) {
	line, err := b.br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(line) > maxChunkLine {
		return 0, badAnswer("a chunk line of more than %d bytes", maxChunkLine)
	}
	if err != nil {
		return 0, err
	}
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok || bytes.IndexByte(line, '\r') >= 0 {
		return 0, badAnswer("chunk line %.40q", line)
	}
	// Extensions may not outgrow the data by far (CVE-2023-39326).
	b.overhead += int64(len(line)) + 4
	// Spaces after the size alone are what some apps pad it with.
	digits, _, _ := bytes.Cut(bytes.TrimRight(line, " \t"), []byte(";"))
	if len(digits) == 0 || len(digits) > 16 {
		return 0, badAnswer("chunk size %.40q", digits)
	}
	var n uint64
	for _, c := range digits {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, badAnswer("chunk size %.40q", digits)
		}
		n = n<<4 | uint64(c)
	}
	if n > 1<<62 {
		return 0, badAnswer("chunk size %.40q", digits)
	}
	b.overhead -= 16 + 2*int64(min(n, 1<<20))
	b.overhead = max(0, b.overhead)
	if b.overhead > 16<<10 {
		return 0, badAnswer("chunk extensions that outweigh the data")
	}
	return int64(n), nil
}

// readTrailer reads the trailer section and the empty line that ends it.
func (b *bodyReader) readTrailer() error {
	var lines []byte
	for {
		line, err := b.br.ReadSlice('\n')
		lines = append(lines, line...)
		if len(lines) > maxTrailers {
			return badAnswer("a trailer section of more than %d KiB", maxTrailers>>10)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return err
		}
		if !bytes.HasSuffix(lines, []byte("\r\n")) {
			return badAnswer("a trailer line that ends without CR")
		}
		if len(line) == 2 && (len(lines) == 2 || lines[len(lines)-3] == '\n') {
			lines = lines[:len(lines)-2]
			break
		}
	}
	if len(lines) == 0 {
		return nil
	}
	h, err := parseFields(string(lines))
	if err != nil {
		return err
	}
	for k := range h {
		if !trailerAllowed(k) {
			delete(h, k)
		}
	}
	if b.trailer != nil {
		*b.trailer = h
	}
	return nil
}

// trailerAllowed is false for what would change framing, routing or rights after the
// fact (RFC 9110, 6.5.1).
func trailerAllowed(key string) bool {
	switch key {
	case "Transfer-Encoding", "Content-Length", "Host", "Trailer", "Authorization", "Connection", "Te",
		"Content-Encoding", "Content-Type", "Content-Range", "Cookie", "Set-Cookie", "Expect", "Upgrade",
		"Www-Authenticate", "Proxy-Authorization", "Proxy-Authenticate", "Forwarded":
		return false
	}
	return !strings.HasPrefix(key, "X-Forwarded-") && !strings.HasPrefix(key, "Relay-")
}
