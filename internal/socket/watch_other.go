//go:build !unix

package socket

type watcher struct{}

// Gone cannot look without reading here.
func (c *Conn) Gone() bool { return false }

// StopWatch ends Gone.
func (c *Conn) StopWatch() {}
