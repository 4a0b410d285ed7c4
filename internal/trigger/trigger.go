// Package trigger makes webhooks as senders send them, to try an app or an
// endpoint with: a sample event of a provider, or a body of the user's own, with
// new ids and the time of now, signed as the provider signs.
//
// The samples are files, samples/PROVIDER/EVENT.json or .form, with the headers
// beside them. They are written by hand after the providers' documentation, and
// are what would have been sent at the moment Written; fresh.go moves them to
// another. The name of a provider is that of its scheme in internal/signature.
//
// Nothing is sent or read here: time and chance are parameters.
package trigger

import (
	"bufio"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/textproto"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/signature"
)

//go:embed samples
var samples embed.FS

// Any is the event of a provider whose events have names that the user chooses.
const Any = "any"

// borrows are providers that send what another sends, under headers of their own.
var borrows = map[string]string{"svix": "standard-webhooks"}

// Providers returns the names of the providers with samples, sorted.
func Providers() []string {
	entries, _ := samples.ReadDir("samples") // it is embedded
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for name := range borrows {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Events returns the names of a provider's samples, sorted; Any among them where
// every name is good.
func Events(provider string) []string {
	root := folder(provider)
	var names []string
	_ = fs.WalkDir(samples, root, func(file string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && path.Ext(file) != ".headers" {
			names = append(names, strings.TrimPrefix(strings.TrimSuffix(file, path.Ext(file)), root+"/"))
		}
		return err
	})
	slices.Sort(names)
	return names
}

func folder(provider string) string {
	if other, ok := borrows[provider]; ok {
		provider = other
	}
	return "samples/" + provider
}

// Event is a webhook before it is signed. Change its Header and use Set as you
// like, then call Sign.
type Event struct {
	Scheme signature.Scheme
	Header http.Header
	Body   []byte
}

// Sample returns the sample of a provider's event as if it happened at now, with
// ids that are taken from random. It is an error of kind ErrUnknown if there is
// none.
func Sample(provider, event string, now time.Time, random io.Reader) (Event, error) {
	s, ok := signature.Lookup(provider)
	if !ok {
		return Event{}, fmt.Errorf("%w provider %q", ErrUnknown, provider)
	}
	name, names := event, Events(s.Name)
	if !slices.Contains(names, name) {
		name = Any
	}
	if event == "" || !slices.Contains(names, name) {
		return Event{}, fmt.Errorf("%w event %q of %s", ErrUnknown, event, s.Title)
	}
	e, err := read(folder(s.Name) + "/" + name)
	if err != nil {
		return Event{}, err
	}
	e.Scheme = s
	if err := e.freshen(ids[folder(s.Name)[len("samples/"):]+" "+name], now, random); err != nil {
		return Event{}, err
	}
	if name == Any && event != Any {
		if err := e.Set("type", event); err != nil {
			return Event{}, err
		}
	}
	return e, e.identify(random)
}

// ErrUnknown means that there is no such provider or event.
var ErrUnknown = errors.New("unknown")

// Custom returns an event with a body of the user's own, which stays as it is. An
// id that the sender has in a header is taken from random unless header has one.
func Custom(s signature.Scheme, header http.Header, body []byte, random io.Reader) (Event, error) {
	e := Event{Scheme: s, Header: header.Clone(), Body: body}
	if e.Header == nil {
		e.Header = make(http.Header)
	}
	return e, e.identify(random)
}

// read reads a sample with its headers.
func read(stem string) (Event, error) {
	var e Event
	head, err := samples.ReadFile(stem + ".headers")
	if err != nil {
		return e, fmt.Errorf("read sample: %w", err)
	}
	lines, err := textproto.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(head), strings.NewReader("\n")))).ReadMIMEHeader()
	if err != nil {
		return e, fmt.Errorf("read the headers of a sample: %w", err)
	}
	e.Header = http.Header(lines)
	if e.Body, err = samples.ReadFile(stem + ".json"); errors.Is(err, fs.ErrNotExist) {
		e.Body, err = samples.ReadFile(stem + ".form")
	}
	if err != nil {
		return e, fmt.Errorf("read sample: %w", err)
	}
	return e, nil
}
