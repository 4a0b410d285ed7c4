package tui

import (
	"context"
	"maps"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/capture"
)

const (
	// pingEvery is how often the way to the server is measured, pingWithin how long an
	// answer may take.
	pingEvery  = 5 * time.Second
	pingWithin = 10 * time.Second
	// countSoon is how often the server is asked how many events wait while some do,
	// countSeldom while none does. Most names keep none; these are asked for once.
	countSoon   = 2 * time.Second
	countSeldom = 15 * time.Second
)

// What the model is told, besides the events of the client.
type (
	tried struct { // a URL
		client.Online
		why string // it does not answer; empty: it does
	}
	note      string
	requests  capture.Changes
	roundTrip time.Duration
	backlog   struct {
		waiting int
		first   bool // since the agent was connected
	}
)

// feed passes on what was told.
func (s *Screen) feed(ctx context.Context, p *tea.Program) {
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		for _, msg := range s.taken() {
			p.Send(msg)
		}
		if !pause(ctx, time.Second/maxRepaints) {
			return
		}
	}
}

// watch passes on what happened to requests. While it pauses nobody waits at the
// recorder, and requests have nobody to wake.
func (s *Screen) watch(ctx context.Context, p *tea.Program) {
	if s.o.Recorder == nil {
		return
	}
	var version uint64
	for {
		c, err := s.o.Recorder.Next(ctx, version)
		if err != nil {
			return
		}
		version = c.Version
		p.Send(requests(c))
		if !pause(ctx, time.Second/maxRepaints) {
			return
		}
	}
}

// measure measures the way to the server.
func (s *Screen) measure(ctx context.Context, p *tea.Program) {
	if s.o.Ping == nil {
		return
	}
	for {
		one, cancel := context.WithTimeout(ctx, pingWithin)
		d, err := s.o.Ping(one)
		cancel()
		if err == nil {
			p.Send(roundTrip(d))
		}
		if !pause(ctx, pingEvery) {
			return
		}
	}
}

// count asks how many events wait for their delivery: of every name when the agent was
// connected, later only of those that have an inbox.
func (s *Screen) count(ctx context.Context, p *tea.Program) {
	if s.o.Backlog == nil {
		return
	}
	var (
		inboxes []string
		first   bool
		every   = countSeldom
	)
	for {
		t := time.NewTimer(every)
		select {
		case <-t.C:
		case <-s.joined:
			inboxes, first = s.bound(), true
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
		waiting, failed := 0, false
		var with []string
		for _, name := range inboxes {
			n, inbox, err := s.o.Backlog(ctx, name)
			failed = failed || err != nil
			if inbox || err != nil {
				with = append(with, name)
			}
			waiting += n
		}
		inboxes = with
		if failed {
			continue
		}
		if len(inboxes) > 0 {
			p.Send(backlog{waiting, first})
		}
		first, every = false, countSeldom
		if waiting > 0 {
			every = countSoon
		}
	}
}

// bound are the names that the agent has.
func (s *Screen) bound() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Values(s.names))
}
