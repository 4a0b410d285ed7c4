package main_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The house as a table: which room may import which. A change here is a change
// of the architecture and belongs into docs/architecture.md as well.
//
// Every room may import the standard library, internal/relay, and what its line in
// rooms and the lines of outsiders say. Test files may import what they need.

const module = "github.com/relaytunnel/relay"

// noun is the room whose nouns all others share.
const noun = "internal/relay"

// rooms says what each room may import of ours. A trailing /... means the rooms
// below as well.
var rooms = map[string][]string{
	".": {"internal/cli"},

	"protocol":           {},
	"internal/relay":     {},
	"internal/signature": {},
	"internal/pipe":      {},
	"internal/backoff":   {},
	"internal/http1":     {},
	"internal/socket":    {},

	"internal/link":      {"protocol", "internal/socket"},
	"internal/capture":   {},
	"internal/compare":   {"internal/capture"},
	"internal/inspector": {"internal/capture", "internal/compare"},
	"internal/trigger":   {"internal/signature"},
	"internal/npmtest":   {}, // only tests import it

	"internal/signature/judge": {"internal/signature", "internal/npmtest"}, // only tests import it

	"server/store":    {},
	"server/registry": {"internal/http1"},
	"server/webhook":  {"internal/signature"},
	"server/history":  {"internal/capture", "internal/signature"},
	"server/auth":     {"server/store"},
	"server/cert":     {"server/store"},
	"server/dns":      {},
	"server/domain":   {"server/store"},
	"server/gate":     {"internal/link", "protocol", "server/registry"},
	"server/cluster":  {"server/registry", "server/store", "internal/link", "protocol"},
	"server/policy":   {},
	"server/api":      {"server/auth", "server/store", "server/registry"},
	"server/edge":     {"internal/capture", "internal/http1", "internal/pipe", "internal/socket", "server/policy"},
	"server":          {"server/...", "protocol", "internal/capture", "internal/http1", "internal/inspector"},

	"client":         {"internal/backoff", "internal/link", "protocol"},
	"client/forward": {"internal/capture", "internal/http1", "internal/pipe"},
	"client/tui":     {"internal/capture", "client"},

	"internal/doctor": {"client", "protocol"},

	"internal/cli": {"client/...", "server", "protocol", "internal/capture", "internal/compare", "internal/doctor", "internal/inspector", "internal/signature", "internal/trigger"},
}

// free rooms may import anything: they look at the program from outside.
var free = []string{"internal/conformance", "bench", "internal/relaytest"}

// outsiders says which rooms may use a library of others; the longest prefix
// that fits counts. A library without a line here has no room.
var outsiders = map[string][]string{
	"github.com/hashicorp/yamux":          {"internal/link"},
	"github.com/gorilla/websocket":        {"internal/link"},
	"modernc.org/sqlite":                  {"server/store"},
	"github.com/jackc/pgx":                {"server/store"},
	"github.com/pressly/goose":            {"server/store"},
	"github.com/urfave/cli":               {"internal/cli"},
	"github.com/goccy/go-yaml":            {"internal/cli"},
	"github.com/xrash/smetrics":           {"internal/cli"},
	"github.com/lmittmann/tint":           {"internal/cli"},
	"github.com/mdp/qrterminal":           {"internal/cli", "client/tui"},
	"charm.land":                          {"client/tui"},
	"golang.org/x/crypto/acme":            {"server/cert"},
	"github.com/go-acme/lego":             {"server/cert"},
	"github.com/miekg/dns":                {"server/cert", "server/dns"},
	"golang.org/x/net/ipv4":               {"server/dns"},
	"golang.org/x/net/ipv6":               {"server/dns"},
	"golang.org/x/net/publicsuffix":       {"server/cert", "server/domain"},
	"github.com/coreos/go-oidc":           {"server/auth"},
	"golang.org/x/oauth2":                 {"server/auth"},
	"golang.org/x/time/rate":              {"server", "server/auth", "server/policy", "server/webhook"},
	"github.com/gaissmai/bart":            {"server/policy"},
	"github.com/quic-go/quic-go":          {"server"},
	"github.com/pires/go-proxyproto":      {"server"},
	"github.com/coreos/go-systemd":        {"server"},
	"github.com/kardianos/service":        {"internal/cli"},
	"github.com/danielgtaylor/huma":       {"server/api"},
	"github.com/tidwall/sjson":            {"internal/trigger"},
	"github.com/tidwall/gjson":            {"internal/trigger"},
	"github.com/oklog/ulid":               {"server/store", "server/edge", "server/history"},
	"github.com/mattn/go-isatty":          {"internal/cli"},
	"golang.org/x/term":                   {"internal/cli"},
	"golang.org/x/net/http/httpguts":      {"internal/http1", "server/edge", "client/forward"},
	"golang.org/x/net/http2":              {"internal/http1", "server", "server/edge", "client/forward"},
	"golang.org/x/sync/singleflight":      {"server/webhook"},
	"golang.org/x/sync/errgroup":          {"server", "client", "internal/cli"},
	"golang.org/x/sys":                    {"internal/link", "server/store", "internal/cli"},
	"go.opentelemetry.io":                 {"server"},
	"github.com/prometheus/client_golang": {}, // any room, but only in files named metrics.go
}

// metricsOnly is the library that every room may use, in its metrics.go.
const metricsOnly = "github.com/prometheus/client_golang"

func TestRoomsImportOnlyWhatTheTableAllows(t *testing.T) {
	eachFile(t, func(path string, src []byte) {
		for _, problem := range checkFile(path, src) {
			t.Error(problem)
		}
	})
}

// eachFile calls check for every Go file that is part of the program.
func eachFile(t *testing.T, check func(path string, src []byte)) {
	t.Helper()
	checked := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		checked++
		check(filepath.ToSlash(path), src)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked == 0 {
		t.Fatal("found no Go files: is this the root of the module?")
	}
}

// checkFile returns a sentence for every import of the file that the table does
// not allow.
func checkFile(path string, src []byte) []string {
	f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return []string{err.Error()}
		}
		if why := forbidden(path, imported); why != "" {
			problems = append(problems, fmt.Sprintf("%s imports %q: %s", path, imported, why))
		}
	}
	return problems
}

// forbidden says which rule the import breaks, or nothing.
func forbidden(path, imported string) string {
	room := roomOf(path)
	if slices.Contains(free, room) {
		return ""
	}
	allowed, known := rooms[room]
	if !known {
		return fmt.Sprintf("room %q is not in the table of rooms in arch_test.go", room)
	}
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		if ours == noun && room != "." || slices.ContainsFunc(allowed, func(a string) bool { return covers(a, ours) }) {
			return ""
		}
		return fmt.Sprintf("of our rooms, %s may import only %s and %s", room, noun, list(allowed))
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	library := ""
	for prefix := range outsiders {
		if covers(prefix+"/...", imported) && len(prefix) > len(library) {
			library = prefix
		}
	}
	switch {
	case library == "":
		return "this library has no room yet; give it one in the table of outsiders in arch_test.go"
	case library == metricsOnly:
		if filepath.Base(path) != "metrics.go" {
			return "Prometheus is used only in files named metrics.go"
		}
		return ""
	case !slices.Contains(outsiders[library], room):
		return fmt.Sprintf("only %s may use %s", list(outsiders[library]), library)
	}
	return ""
}

// roomOf is the room a file belongs to. A folder below a room that has no line of
// its own, as server/store/migrations, belongs to the room above it.
func roomOf(path string) string {
	dir := filepath.ToSlash(filepath.Dir(path))
	for d := dir; d != "."; d = filepath.ToSlash(filepath.Dir(d)) {
		if _, ok := rooms[d]; ok || slices.Contains(free, d) {
			// server and client are houses of rooms: what is new in them wants a line.
			if d != dir && (d == "server" || d == "client") {
				return dir
			}
			return d
		}
	}
	return dir
}

// covers tells whether a pattern of the table, with or without /..., is about
// the import path.
func covers(pattern, path string) bool {
	if root, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == root || strings.HasPrefix(path, root+"/")
	}
	return path == pattern
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing else"
	}
	return strings.Join(names, ", ")
}

// TestImportCheckCatches shows that the check above would fail: a rule that
// cannot fail guards nothing.
func TestImportCheckCatches(t *testing.T) {
	for _, tt := range []struct {
		path, imported string
		want           string // part of the sentence; empty: allowed
	}{
		{"internal/link/link.go", module + "/protocol", ""},
		{"internal/link/link.go", "github.com/hashicorp/yamux", ""},
		{"internal/link/link.go", "net/http", ""},
		{"server/edge/http.go", module + "/internal/relay", ""},
		{"server/run.go", module + "/server/webhook", ""},
		{"server/store/migrations/embed.go", "embed", ""},
		{"bench/run.go", module + "/server/store", ""},
		{"server/gate/metrics.go", "github.com/prometheus/client_golang/prometheus", ""},
		{"main.go", module + "/internal/cli", ""},

		{"server/edge/http.go", module + "/server/registry", "server/edge may import only"},
		{"server/gate/gate.go", module + "/server/store", "server/gate may import only"},
		{"protocol/protocol.go", module + "/internal/link", "nothing else"},
		{"internal/relay/relay.go", module + "/server", "internal/relay may import only"},
		{"client/session.go", module + "/server", "client may import only"},
		{"main.go", module + "/server", ". may import only"},
		{"server/gate/gate.go", "github.com/hashicorp/yamux", "only internal/link may use"},
		{"client/client.go", "github.com/gorilla/websocket", "only internal/link may use"},
		{"server/api/api.go", "modernc.org/sqlite", "only server/store may use"},
		{"server/server.go", "github.com/urfave/cli/v2", "only internal/cli may use"},
		{"server/gate/gate.go", "github.com/prometheus/client_golang/prometheus", "metrics.go"},
		{"server/gate/gate.go", "github.com/somebody/something", "has no room"},
		{"server/util/util.go", "fmt", "not in the table of rooms"},
		{"pkg/errors/errors.go", "fmt", "not in the table of rooms"},
	} {
		src := fmt.Appendf(nil, "package p\n\nimport _ %q\n", tt.imported)
		got := strings.Join(checkFile(tt.path, src), "\n")
		if tt.want == "" && got != "" {
			t.Errorf("allowed import is refused: %s", got)
		}
		if tt.want != "" && !strings.Contains(got, tt.want) {
			t.Errorf("%s importing %s: got %q, want a sentence with %q", tt.path, tt.imported, got, tt.want)
		}
	}
}

// A stranger decides how much there is to read, so every io.ReadAll of the program
// has its bound beside it.
func TestReadAllIsBounded(t *testing.T) {
	eachFile(t, func(path string, src []byte) {
		for _, problem := range unboundedReads(path, src) {
			t.Error(problem)
		}
	})
}

// unboundedReads finds each io.ReadAll whose argument is not itself a call of
// io.LimitReader or http.MaxBytesReader.
func unboundedReads(path string, src []byte) []string {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, path, src, parser.SkipObjectResolution)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || callee(call) != "io.ReadAll" || len(call.Args) != 1 {
			return true
		}
		from, _ := call.Args[0].(*ast.CallExpr)
		if name := callee(from); name != "io.LimitReader" && name != "http.MaxBytesReader" {
			problems = append(problems, fmt.Sprintf("%s: io.ReadAll without a bound: write io.ReadAll(io.LimitReader(r, n))", files.Position(call.Pos())))
		}
		return true
	})
	return problems
}

// callee is the called function as written, if it is one of another package.
func callee(call *ast.CallExpr) string {
	if call == nil {
		return ""
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	pkg, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return pkg.Name + "." + sel.Sel.Name
}

func TestReadAllCheckCatches(t *testing.T) {
	const file = "package p\n\nfunc f() { io.ReadAll(%s) }\n"
	if p := unboundedReads("p.go", fmt.Appendf(nil, file, "r.Body")); len(p) != 1 {
		t.Errorf("an unbounded read gives %q, want one sentence", p)
	}
	if p := unboundedReads("p.go", fmt.Appendf(nil, file, "io.LimitReader(r.Body, 10)")); len(p) != 0 {
		t.Errorf("a bounded read gives %q, want nothing", p)
	}
}
