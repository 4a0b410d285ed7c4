package link

import "sync"

// chunk is a piece of received data.
type chunk struct {
	buf  []byte
	r, w int // buf[r:w] is unread
	next *chunk
}

const (
	smallChunk = 4 << 10
	bigChunk   = 32 << 10
)

var (
	smallChunks = sync.Pool{New: func() any { return &chunk{buf: make([]byte, smallChunk)} }}
	bigChunks   = sync.Pool{New: func() any { return &chunk{buf: make([]byte, bigChunk)} }}
)

func newChunk(n int) *chunk {
	if n <= smallChunk {
		return smallChunks.Get().(*chunk)
	}
	return bigChunks.Get().(*chunk)
}

func (c *chunk) free() {
	c.r, c.w, c.next = 0, 0, nil
	if len(c.buf) == smallChunk {
		smallChunks.Put(c)
	} else {
		bigChunks.Put(c)
	}
}

// chunks is a queue of received bytes. The link's reader fills the last one
// without the lock; everything else happens with the stream's mu held.
type chunks struct {
	head, tail *chunk
	size       int64 // unread bytes
	filling    bool  // the link's reader is writing into tail
}

// space gives room for up to n bytes and marks it as being filled.
func (q *chunks) space(n int) []byte {
	q.filling = true
	if q.tail == nil || q.tail.w == len(q.tail.buf) {
		c := newChunk(n)
		if q.tail == nil {
			q.head = c
		} else {
			q.tail.next = c
		}
		q.tail = c
	}
	room := q.tail.buf[q.tail.w:]
	return room[:min(n, len(room))]
}

// filled says that n bytes of the space hold data now.
func (q *chunks) filled(n int) {
	q.filling = false
	q.tail.w += n
	q.size += int64(n)
}

// read takes bytes from the front.
func (q *chunks) read(p []byte) int {
	n := 0
	for n < len(p) && q.size > 0 {
		c := q.head
		m := copy(p[n:], c.buf[c.r:c.w])
		c.r += m
		n += m
		q.size -= int64(m)
		if c.r == c.w {
			q.advance()
		}
	}
	return n
}

// advance gives the first chunk back, unless it is being filled.
func (q *chunks) advance() {
	c := q.head
	if c == q.tail {
		if q.filling {
			return
		}
		q.head, q.tail = nil, nil
	} else {
		q.head = c.next
	}
	c.free()
}

// drop forgets everything. A chunk that is being filled is left to its filler.
func (q *chunks) drop() {
	for q.head != nil && q.head != q.tail {
		c := q.head
		q.head = c.next
		c.free()
	}
	if q.head != nil && !q.filling {
		q.head.free()
		q.head, q.tail = nil, nil
	}
	q.size = 0
}
