package main

import (
	"flag"
	"net"
	"sync"
	"time"
)

// path is a long network between two places, in user space: every byte arrives
// one delay after it was sent, and a rate is shared by all connections. It has
// no loss and no congestion control; what it shows is what windows, buffers and
// the order of sending do.
type path struct {
	delay time.Duration // one way
	queue int           // bytes in flight each way on one connection
	chunk int           // bytes moved at a time
	rcv   int           // socket receive buffer; 0: the kernel's choice
	pool  sync.Pool
}

// pathMain forwards connections over a path.
func pathMain(args []string) error {
	f := flag.NewFlagSet("path", flag.ExitOnError)
	to := f.String("to", "", "where the path leads")
	rtt := f.Duration("rtt", 50*time.Millisecond, "round-trip time")
	rate := f.Int64("rate", 0, "bytes per second each way, shared by all connections; 0: no limit")
	queue := f.Int("queue", 64<<20, "bytes in flight each way on one connection")
	chunk := f.Int("chunk", 32<<10, "bytes moved at a time")
	rcv := f.Int("rcvbuf", 0, "socket receive buffer; 0: the kernel's choice")
	if err := f.Parse(args); err != nil {
		return err
	}
	p := &path{delay: *rtt / 2, queue: *queue, chunk: *chunk, rcv: *rcv}
	p.pool.New = func() any { b := make([]byte, p.chunk); return &b }
	ln, err := listen()
	if err != nil {
		return err
	}
	there, back := &bottleneck{rate: *rate}, &bottleneck{rate: *rate}
	for {
		near, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			far, err := net.Dial("tcp", *to)
			if err != nil {
				near.Close()
				return
			}
			p.join(near.(*net.TCPConn), far.(*net.TCPConn), there, back)
		}()
	}
}

func (p *path) join(near, far *net.TCPConn, there, back *bottleneck) {
	defer near.Close()
	defer far.Close()
	if p.rcv > 0 {
		_ = near.SetReadBuffer(p.rcv)
		_ = far.SetReadBuffer(p.rcv)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.carry(near, far, back)
	}()
	p.carry(far, near, there)
	<-done
}

// parcel is a piece of the stream and the moment it arrives.
type parcel struct {
	buf *[]byte
	n   int
	at  time.Time
}

// carry moves src to dst until src ends, and hands the end on.
func (p *path) carry(dst, src *net.TCPConn, b *bottleneck) {
	road := make(chan parcel, p.queue/p.chunk+1)
	go func() {
		defer close(road)
		for {
			buf := p.pool.Get().(*[]byte)
			n, err := src.Read(*buf)
			if n > 0 {
				road <- parcel{buf, n, time.Now().Add(p.delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	broken := false
	for c := range road {
		if !broken {
			time.Sleep(time.Until(c.at))
			b.wait(c.n)
			if _, err := dst.Write((*c.buf)[:c.n]); err != nil {
				broken = true
				src.Close()
			}
		}
		p.pool.Put(c.buf)
	}
	_ = dst.CloseWrite()
}

// bottleneck lets bytes pass at a rate, in the order of asking.
type bottleneck struct {
	rate int64

	mu   sync.Mutex
	next time.Time // when the next bytes may pass
}

// lateness is what a late timer may catch up. Without it each oversleep would
// lower the rate; with much more, a pause would turn into a burst.
const lateness = 5 * time.Millisecond

func (b *bottleneck) wait(n int) {
	if b.rate <= 0 {
		return
	}
	b.mu.Lock()
	if earliest := time.Now().Add(-lateness); b.next.Before(earliest) {
		b.next = earliest
	}
	b.next = b.next.Add(time.Duration(int64(n) * int64(time.Second) / b.rate))
	at := b.next
	b.mu.Unlock()
	time.Sleep(time.Until(at))
}
