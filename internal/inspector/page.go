package inspector

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// dist is the page, built of ui/ by "make ui".
//
//go:embed all:dist
var dist embed.FS

// page serves the built files. The names of those in assets/ have a hash in them.
type page struct{ files fs.FS }

func newPage() (http.Handler, error) {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, err
	}
	return &page{files}, nil
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "This page can only be read.", http.StatusMethodNotAllowed)
		return
	}
	if name == "" {
		name = "index.html"
	}
	cache := "no-cache"
	if strings.HasPrefix(name, "assets/") {
		cache = "public, max-age=31536000, immutable"
	}
	b, err := fs.ReadFile(p.files, name)
	if err != nil {
		http.Error(w, "There is no such page.", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", cache)
	h.Set("Content-Type", typeOf(name))
	_, _ = w.Write(b)
}

// typeOf does not ask the machine, whose tables may be odd.
func typeOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "application/octet-stream"
}
