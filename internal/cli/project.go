package cli

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	urfave "github.com/urfave/cli/v2"
)

// project is a relay.yml: endpoints that "relay up" serves together.
type project struct {
	path      string
	server    string // empty: that of relay login
	endpoints []projectEndpoint
}

// projectEndpoint is one of them. Its keys are the flags of "relay http", with _ for
// -, so that a file can say all that a command line can.
type projectEndpoint struct {
	place  string // file:line:column, for messages
	target string
	flags  *urfave.Context
}

// projectNames are those under which a project file is looked for.
var projectNames = []string{"relay.yml", "relay.yaml"}

// findProject looks for a project file in the folder and those above it.
func findProject() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find relay.yml: %w", err)
	}
	for {
		for _, name := range projectNames {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return path, nil
			}
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "", usagef("there is no relay.yml in this folder or above it; write one, or name it with --config (see docs/cli.md)")
		}
		dir = above
	}
}

// loadProject reads a project file.
func loadProject(path string) (*project, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("there is no file %s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	file, err := parser.ParseBytes(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), 0) // as some editors begin a file
	if err != nil {
		return nil, usagef("%s: %s", path, strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	p := &project{path: path}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, usagef("%s: give one document with the key endpoints", path)
	}
	if err := p.read(file.Docs[0].Body); err != nil {
		return nil, err
	}
	if len(p.endpoints) == 0 {
		return nil, usagef("%s: there are no endpoints; give at least one, like endpoints: [{target: 3000}]", path)
	}
	return p, nil
}

// at is a mistake at a place of the file.
func (p *project) at(n ast.Node, format string, args ...any) error {
	return usagef("%s: %s", p.placeOf(n), fmt.Sprintf(format, args...))
}

// placeOf is where a value begins; that of a mapping with its first key.
func (p *project) placeOf(n ast.Node) string {
	switch m := n.(type) {
	case *ast.MappingNode:
		if len(m.Values) > 0 {
			n = m.Values[0].Key
		}
	case *ast.MappingValueNode:
		n = m.Key
	}
	pos := n.GetToken().Position
	return fmt.Sprintf("%s:%d:%d", p.path, pos.Line, pos.Column)
}

func (p *project) read(body ast.Node) error {
	return p.each(body, "the file", func(key string, k, v ast.Node) error {
		switch key {
		case "version":
			if s, err := p.text(v); err != nil || s != "1" {
				return p.at(v, "the version is 1")
			}
			return nil
		case "server":
			s, err := p.text(v)
			if err == nil {
				if p.server, err = serverAddress(s); err != nil {
					return p.at(v, "%v", err)
				}
			}
			return err
		case "endpoints":
			list, ok := v.(*ast.SequenceNode)
			if !ok {
				return p.at(v, "endpoints is a list: begin each with \"- target:\"")
			}
			for _, one := range list.Values {
				if err := p.readEndpoint(one); err != nil {
					return err
				}
			}
			return nil
		}
		return p.unknown(k, key, "the file", []string{"version", "server", "endpoints"})
	})
}

func (p *project) readEndpoint(n ast.Node) error {
	set := flag.NewFlagSet("endpoint", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	keys := []string{"target"}
	for _, f := range endpointFlags() {
		if err := f.Apply(set); err != nil {
			return err
		}
		keys = append(keys, strings.ReplaceAll(f.Names()[0], "-", "_"))
	}
	e := projectEndpoint{place: p.placeOf(n)}
	err := p.each(n, "an endpoint", func(key string, k, v ast.Node) error {
		if !slices.Contains(keys, key) {
			return p.unknown(k, key, "an endpoint", keys)
		}
		values, err := p.values(v)
		if err != nil {
			return err
		}
		if key == "target" {
			if len(values) != 1 {
				return p.at(v, "give one target")
			}
			e.target = values[0]
			return nil
		}
		name := strings.ReplaceAll(key, "_", "-")
		if _, many := set.Lookup(name).Value.(*urfave.StringSlice); !many && len(values) != 1 {
			return p.at(v, "%s has one value, not a list", key)
		}
		for _, value := range values {
			if err := set.Set(name, value); err != nil {
				return p.at(v, "%s: %q is not %s", key, value, kindOf(set.Lookup(name)))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if e.target == "" {
		return p.at(n, "the endpoint has no target: say which port or address it serves, like target: 3000")
	}
	e.flags = urfave.NewContext(nil, set, nil)
	if name := e.flags.String("name"); name != "" && slices.ContainsFunc(p.endpoints, func(other projectEndpoint) bool {
		return strings.EqualFold(other.flags.String("name"), name)
	}) {
		return p.at(n, "another endpoint has the name %s already", name)
	}
	p.endpoints = append(p.endpoints, e)
	return nil
}

// kindOf says what a flag wants, for people.
func kindOf(f *flag.Flag) string {
	if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
		return "true or false"
	}
	if g, ok := f.Value.(flag.Getter); ok {
		switch g.Get().(type) {
		case time.Duration:
			return "a time like 30s or 2h"
		case int, int64:
			return "a whole number"
		}
	}
	return "right"
}

// unknown says that a key is not known, and which one may be meant.
func (p *project) unknown(n ast.Node, key, of string, known []string) error {
	if near := nearest(strings.ReplaceAll(key, "-", "_"), known); near != "" {
		return p.at(n, "%s has no key %q; did you mean %s?", of, key, near)
	}
	return p.at(n, "%s has no key %q", of, key)
}

// each calls do with the pairs of a mapping, of which each key must be there once.
func (p *project) each(n ast.Node, of string, do func(key string, k, v ast.Node) error) error {
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	case *ast.AnchorNode, *ast.AliasNode:
		return p.at(n, "%s", noAnchors)
	default:
		return p.at(n, "%s is made of keys and values, like target: 3000", of)
	}
	seen := map[string]bool{}
	for _, pair := range pairs {
		key := pair.Key.GetToken().Value
		if seen[key] {
			return p.at(pair.Key, "the key %q is given twice", key)
		}
		seen[key] = true
		if err := do(key, pair.Key, pair.Value); err != nil {
			return err
		}
	}
	return nil
}

// values are the texts of a value or of a list of them.
func (p *project) values(n ast.Node) ([]string, error) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		s, err := p.text(n)
		return []string{s}, err
	}
	values := make([]string, 0, len(list.Values))
	for _, one := range list.Values {
		s, err := p.text(one)
		if err != nil {
			return nil, err
		}
		values = append(values, s)
	}
	return values, nil
}

const noAnchors = "anchors and aliases (& and *) are not for this file: write it out, or put it in quotes if it is a text"

// variable is a place for what the environment has.
var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// text is that of a value, as it stands in the file: 0644 is not a number here.
// ${NAME} stands for an environment variable.
func (p *project) text(n ast.Node) (string, error) {
	var s string
	switch n := n.(type) {
	case *ast.LiteralNode: // | and >
		s = n.Value.Value
	case *ast.StringNode:
		s = n.Value
	case *ast.AnchorNode, *ast.AliasNode:
		return "", p.at(n, "%s", noAnchors)
	case *ast.NullNode:
		return "", p.at(n, "there is no value")
	case ast.ScalarNode:
		s = n.GetToken().Value
	default:
		return "", p.at(n, "this must be a text or a number")
	}
	var missing string
	s = variable.ReplaceAllStringFunc(s, func(v string) string {
		name := v[2 : len(v)-1]
		value, ok := os.LookupEnv(name)
		if !ok && missing == "" {
			missing = name
		}
		return value
	})
	if missing != "" {
		return "", p.at(n, "the environment variable %s is not set", missing)
	}
	return s, nil
}
