package socket_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/internal/socket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// tcp returns a wrapped connection and the plain other end of it.
func tcp(t *testing.T) (*socket.Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	_ = far.SetDeadline(time.Now().Add(patience))
	return socket.New(near), far.(*net.TCPConn)
}

func random(seed byte) *rand.Rand { return rand.New(rand.NewChaCha8([32]byte{seed})) }

// Bytes arrive as they were sent, in both directions at once, whatever the sizes
// of writes and reads, corked or not.
func TestBytesArriveAsTheyWereSent(t *testing.T) {
	const total = 8 << 20
	near, far := tcp(t)
	type sum = [sha256.Size]byte
	send := func(w io.Writer, seed byte, corked *socket.Conn, done func() error) (s sum, err error) {
		h, r, sizes := sha256.New(), rand.NewChaCha8([32]byte{seed}), random(seed+1)
		buf := make([]byte, 100_000)
		for left := total; left > 0; {
			n := min(left, 1+sizes.IntN(1<<(1+sizes.IntN(16))))
			_, _ = r.Read(buf[:n])
			h.Write(buf[:n])
			if corked != nil && sizes.IntN(4) == 0 {
				corked.Cork()
			}
			m, err := w.Write(buf[:n])
			if err != nil || m != n {
				return s, errors.Join(err, errors.New("short write"))
			}
			if corked != nil && sizes.IntN(4) == 0 {
				if err := corked.Uncork(); err != nil {
					return s, err
				}
			}
			left -= n
		}
		h.Sum(s[:0])
		return s, done()
	}
	receive := func(r io.Reader, seed byte) (s sum, err error) {
		h, sizes := sha256.New(), random(seed)
		buf := make([]byte, 200_000)
		got := 0
		for {
			n, err := r.Read(buf[:1+sizes.IntN(1<<(1+sizes.IntN(17)))])
			h.Write(buf[:n])
			got += n
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return s, err
			}
		}
		if got != total {
			return s, errors.New("lost some")
		}
		h.Sum(s[:0])
		return s, nil
	}
	var sent, arrived [2]sum
	var errs [4]error
	var wg sync.WaitGroup
	wg.Go(func() {
		sent[0], errs[0] = send(near, 1, near, func() error {
			if err := near.Uncork(); err != nil {
				return err
			}
			return near.CloseWrite()
		})
	})
	wg.Go(func() { sent[1], errs[1] = send(far, 10, nil, far.CloseWrite) })
	wg.Go(func() { arrived[0], errs[2] = receive(far, 20) })
	wg.Go(func() { arrived[1], errs[3] = receive(near, 30) })
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if sent != arrived {
		t.Error("what arrived is not what was sent")
	}
}

// One small read takes all that has arrived; what is left of it comes without
// asking the socket again.
func TestReadAhead(t *testing.T) {
	near, far := tcp(t)
	_, _ = io.WriteString(far, "hello world")
	b := make([]byte, 5)
	if n, err := near.Read(b); err != nil || string(b[:n]) != "hello" {
		t.Fatalf("got %q, %v", b[:n], err)
	}
	// The socket has no more: a deadline in the past would show.
	_ = near.SetReadDeadline(time.Unix(1, 0))
	rest := make([]byte, 100)
	n, err := near.Read(rest)
	if err != nil || string(rest[:n]) != " world" {
		t.Errorf("got %q, %v; want what was read ahead", rest[:n], err)
	}
	if _, err := near.Read(rest); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	if n, err := near.Read(nil); n != 0 || err != nil {
		t.Errorf("a read of nothing: %d, %v", n, err)
	}
}

func TestReadDeadline(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "large": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			near, far := tcp(t)
			_ = near.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, err := near.Read(make([]byte, size))
			var ne net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("got %v, want a timeout", err)
			}
			_ = near.SetReadDeadline(time.Time{})
			_, _ = io.WriteString(far, "later")
			b := make([]byte, size)
			if n, err := near.Read(b); err != nil || string(b[:n]) != "later" {
				t.Errorf("after the deadline: %q, %v", b[:n], err)
			}
		})
	}
}

// A deadline set while a read waits ends it, which is how net/http takes a
// connection back.
func TestDeadlineEndsAWaitingRead(t *testing.T) {
	near, _ := tcp(t)
	done := make(chan error, 1)
	go func() {
		_, err := near.Read(make([]byte, 1))
		done <- err
	}()
	_ = near.SetReadDeadline(time.Unix(1, 0)) // if the read begins later, it ends at once
	select {
	case err := <-done:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the read goes on")
	}
}

func TestEndOfTheOtherSide(t *testing.T) {
	t.Run("orderly", func(t *testing.T) {
		near, far := tcp(t)
		_, _ = io.WriteString(far, "last words")
		_ = far.CloseWrite()
		if got, err := io.ReadAll(near); err != nil || string(got) != "last words" {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("a read after the end: %v", err)
		}
		// The way back is open.
		if _, err := io.WriteString(near, "answer"); err != nil {
			t.Fatal(err)
		}
		_ = near.CloseWrite()
		if got, err := io.ReadAll(far); err != nil || string(got) != "answer" {
			t.Errorf("the other side got %q, %v", got, err)
		}
	})
	t.Run("broken off", func(t *testing.T) {
		near, far := tcp(t)
		_ = far.SetLinger(0)
		far.Close()
		_, err := near.Read(make([]byte, 1))
		var op *net.OpError
		if err == nil || errors.Is(err, io.EOF) || !errors.As(err, &op) {
			t.Errorf("got %v, want an error that is no end", err)
		}
	})
}

func TestCloseEndsAWaitingRead(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "large": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			near, far := tcp(t)
			_, _ = io.WriteString(far, "x")
			if _, err := io.ReadFull(near, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				_, err := near.Read(make([]byte, size))
				done <- err
			}()
			near.Close()
			select {
			case err := <-done:
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("got %v", err)
				}
			case <-time.After(patience):
				t.Fatal("the read goes on")
			}
		})
	}
}

// What is no TCP connection reads as it always did.
func TestConnectionsOfOtherKinds(t *testing.T) {
	near, far := net.Pipe()
	c := socket.New(near)
	go func() {
		_, _ = io.WriteString(far, "hello")
		far.Close()
	}()
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	if c.NetConn() != near {
		t.Error("NetConn is not the connection underneath")
	}
	if err := c.CloseWrite(); err != nil { // closes: there is no half
		t.Error(err)
	}
	if _, err := near.Write([]byte("x")); err == nil {
		t.Error("still open")
	}
}

// countedConn counts writes.
type countedConn struct {
	net.Conn
	writes atomic.Int32
	got    bytes.Buffer
	err    error
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	if c.err != nil {
		return 0, c.err
	}
	return c.got.Write(p)
}

func (c *countedConn) Close() error { return nil }

func TestCork(t *testing.T) {
	const most = 32 << 10 // of what a cork holds back
	type step struct {
		do     string // cork, uncork, or a number of bytes to write
		n      int
		writes int // that have reached the connection by then
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"open", []step{{"write", 5, 1}, {"write", 5, 2}, {"write", 0, 3}}},
		{"many as one", []step{{"cork", 0, 0}, {"write", 5, 0}, {"write", 1000, 0}, {"uncork", 0, 1}, {"write", 5, 2}}},
		{"nothing", []step{{"cork", 0, 0}, {"uncork", 0, 0}, {"uncork", 0, 0}}},
		{"twice", []step{{"cork", 0, 0}, {"write", 5, 0}, {"cork", 0, 0}, {"write", 5, 0}, {"uncork", 0, 1}, {"write", 5, 2}}},
		{"to the brim", []step{{"cork", 0, 0}, {"write", most - 5, 0}, {"write", 5, 0}, {"uncork", 0, 1}}},
		{"over the brim", []step{{"cork", 0, 0}, {"write", most - 5, 0}, {"write", 6, 2}, {"write", 5, 2}, {"uncork", 0, 3}}},
		{"too much at once", []step{{"cork", 0, 0}, {"write", most + 1, 1}, {"uncork", 0, 1}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			under := &countedConn{}
			c := socket.New(under)
			var want bytes.Buffer
			for i, s := range tt.steps {
				switch s.do {
				case "cork":
					c.Cork()
				case "uncork":
					if err := c.Uncork(); err != nil {
						t.Fatal(err)
					}
				default:
					b := bytes.Repeat([]byte{byte('a' + i)}, s.n)
					want.Write(b)
					if n, err := c.Write(b); err != nil || n != s.n {
						t.Fatalf("Write = %d, %v", n, err)
					}
				}
				if got := int(under.writes.Load()); got != s.writes {
					t.Errorf("after step %d, %s %d: %d writes, want %d", i, s.do, s.n, got, s.writes)
				}
			}
			if !bytes.Equal(under.got.Bytes(), want.Bytes()) {
				t.Error("what was written is not what was sent")
			}
		})
	}
}

func TestUncorkTellsOfAFailure(t *testing.T) {
	errFull := errors.New("full")
	under := &countedConn{err: errFull}
	c := socket.New(under)
	c.Cork()
	if _, err := c.Write([]byte("held")); err != nil {
		t.Fatal(err)
	}
	if err := c.Uncork(); !errors.Is(err, errFull) {
		t.Errorf("Uncork = %v", err)
	}
	c.Cork()
	_, _ = c.Write([]byte("held"))
	if _, err := c.Write(make([]byte, 64<<10)); !errors.Is(err, errFull) {
		t.Errorf("Write over the brim = %v", err)
	}
}

// A buffer goes back when it is empty and is never shared: many connections read
// and write at once, each its own bytes.
func TestBuffersAreNotShared(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 16 {
		near, far := tcp(t)
		mark := byte(i + 1)
		wg.Go(func() {
			for range 200 {
				_, _ = far.Write(bytes.Repeat([]byte{mark}, 3000))
				b := make([]byte, 3000)
				if _, err := io.ReadFull(far, b); err != nil || !bytes.Equal(b, bytes.Repeat([]byte{mark}, 3000)) {
					t.Errorf("connection %d got another's bytes, or %v", i, err)
					return
				}
			}
			_ = far.CloseWrite()
		})
		wg.Go(func() {
			b := make([]byte, 700) // less than what arrives
			for {
				n, err := near.Read(b)
				if err != nil {
					return
				}
				near.Cork()
				for _, c := range b[:n] {
					if c != mark {
						t.Errorf("connection %d read another's bytes", i)
						return
					}
				}
				_, _ = near.Write(b[:n/2])
				_, _ = near.Write(b[n/2 : n])
				_ = near.Uncork()
			}
		})
	}
	wg.Wait()
}
