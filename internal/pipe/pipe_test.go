package pipe_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/internal/pipe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type result struct {
	aToB, bToA int64
	err        error
}

// join runs Join and gives its result, which must come soon.
func join(ctx context.Context, a, b pipe.Conn) func(*testing.T) result {
	done := make(chan result, 1)
	go func() {
		var r result
		r.aToB, r.bToA, r.err = pipe.Join(ctx, a, b)
		done <- r
	}()
	return func(t *testing.T) result {
		t.Helper()
		select {
		case r := <-done:
			return r
		case <-time.After(10 * time.Second):
			t.Fatal("Join does not return")
			panic("unreachable")
		}
	}
}

// tcp returns the two ends of a connection.
func tcp(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far0, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near0, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near, far = near0.(*net.TCPConn), far0.(*net.TCPConn)
	t.Cleanup(func() { near.Close(); far.Close() })
	far.SetDeadline(time.Now().Add(10 * time.Second))
	return near, far
}

func wantClosed(t *testing.T, conns ...net.Conn) {
	t.Helper()
	for _, c := range conns {
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("a side is still open")
		}
	}
}

func TestHalfCloseLeavesTheWayBackOpen(t *testing.T) {
	a, visitor := tcp(t)
	b, app := tcp(t)
	wait := join(t.Context(), a, b)

	question := bytes.Repeat([]byte("question "), 50_000)
	go func() {
		visitor.Write(question)
		visitor.CloseWrite()
	}()
	got, err := io.ReadAll(app) // ends by the half-close
	if err != nil || !bytes.Equal(got, question) {
		t.Fatalf("the app got %d bytes, %v", len(got), err)
	}
	io.WriteString(app, "answer")
	app.Close()
	answer, err := io.ReadAll(visitor)
	if err != nil || string(answer) != "answer" {
		t.Fatalf("the visitor got %q, %v", answer, err)
	}

	r := wait(t)
	if r.err != nil || r.aToB != int64(len(question)) || r.bToA != 6 {
		t.Errorf("Join = %+v", r)
	}
	wantClosed(t, a, b)
}

func TestASideWithoutCloseWriteIsClosedAtTheEnd(t *testing.T) {
	// Ends of net.Pipe have no CloseWrite.
	a, visitor := net.Pipe()
	b, app := net.Pipe()
	wait := join(t.Context(), a, b)

	go func() {
		io.WriteString(visitor, "hello")
		visitor.Close() // ends both: what b sends cannot be written any more
	}()
	got := make([]byte, 5)
	if _, err := io.ReadFull(app, got); err != nil {
		t.Fatal(err)
	}
	app.SetWriteDeadline(time.Now().Add(10 * time.Second))
	app.Write([]byte("too late"))
	if _, err := app.Read(got); err == nil {
		t.Error("the app's side is still open")
	}
	r := wait(t)
	if r.aToB != 5 || r.err == nil {
		t.Errorf("Join = %+v, want 5 bytes and the failed write", r)
	}
	wantClosed(t, a, b)
}

func TestEndOfContextClosesBothSides(t *testing.T) {
	errOver := errors.New("over")
	a, visitor := tcp(t)
	b, app := tcp(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	wait := join(ctx, a, b)
	io.WriteString(visitor, "x")
	if _, err := io.ReadFull(app, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}

	cancel(errOver)
	if r := wait(t); !errors.Is(r.err, errOver) || r.aToB != 1 {
		t.Errorf("Join = %+v", r)
	}
	wantClosed(t, a, b)
	visitor.Read(make([]byte, 1))
}

func TestEndedContextIsNoWay(t *testing.T) {
	a, _ := tcp(t)
	b, _ := tcp(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := join(ctx, a, b)(t); !errors.Is(r.err, context.Canceled) {
		t.Errorf("Join = %+v", r)
	}
	wantClosed(t, a, b)
}

// side is a connection made of parts; Close ends a Read that waits.
type side struct {
	io.Reader
	io.Writer
	closed chan struct{}
	closes atomic.Int32
}

func newSide(r io.Reader, w io.Writer) *side {
	s := &side{closed: make(chan struct{}), Writer: w}
	s.Reader = io.MultiReader(r, readFunc(func([]byte) (int, error) {
		<-s.closed
		return 0, net.ErrClosed
	}))
	return s
}

func (s *side) Close() error {
	if s.closes.Add(1) == 1 {
		close(s.closed)
	}
	return nil
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

type writeFunc func([]byte) (int, error)

func (f writeFunc) Write(p []byte) (int, error) { return f(p) }

func TestOneFailureEndsBothDirections(t *testing.T) {
	errBroken := errors.New("broken")
	tests := []struct {
		name string
		a, b *side
		aToB int64
		err  error
	}{
		{"read", newSide(iotest.ErrReader(errBroken), io.Discard), newSide(strings.NewReader(""), io.Discard), 0, errBroken},
		{
			"write", newSide(strings.NewReader("abc"), io.Discard),
			newSide(strings.NewReader(""), writeFunc(func([]byte) (int, error) { return 2, errBroken })), 2, errBroken,
		},
		{
			"short write", newSide(strings.NewReader("abc"), io.Discard),
			newSide(strings.NewReader(""), writeFunc(func([]byte) (int, error) { return 1, nil })), 1, io.ErrShortWrite,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := join(t.Context(), tt.a, tt.b)(t)
			if !errors.Is(r.err, tt.err) || !strings.Contains(r.err.Error(), "copy a to b") {
				t.Errorf("err = %v", r.err)
			}
			if r.aToB != tt.aToB {
				t.Errorf("%d bytes, want %d", r.aToB, tt.aToB)
			}
			if tt.a.closes.Load() != 1 || tt.b.closes.Load() != 1 {
				t.Errorf("closed %d and %d times", tt.a.closes.Load(), tt.b.closes.Load())
			}
		})
	}
}

func TestManyJoinsShareBuffersNotBytes(t *testing.T) {
	for range 20 {
		a, visitor := tcp(t)
		b, app := tcp(t)
		wait := join(t.Context(), a, b)
		go func() { // the app echoes
			io.Copy(app, app)
			app.Close()
		}()
		text := bytes.Repeat([]byte{byte(time.Now().UnixNano())}, 100_000)
		go func() {
			visitor.Write(text)
			visitor.CloseWrite()
		}()
		got, err := io.ReadAll(visitor)
		if err != nil || !bytes.Equal(got, text) {
			t.Fatalf("echo of %d bytes, %v", len(got), err)
		}
		if r := wait(t); r.err != nil || r.aToB != 100_000 || r.bToA != 100_000 {
			t.Fatalf("Join = %+v", r)
		}
	}
}
