package policy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// maxDocument is the largest document that is read, in bytes. GitHub's has a
	// megabyte or so, of which we use a few lines.
	maxDocument  = 8 << 20
	fetchTimeout = time.Minute
)

// getter gets documents by HTTPS.
type getter struct{ client *http.Client }

func httpsGetter() *getter {
	return &getter{&http.Client{Timeout: fetchTimeout, CheckRedirect: stay}}
}

// stay follows a redirect within the host, by HTTPS: who publishes the list is what
// makes it worth anything.
func stay(req *http.Request, via []*http.Request) error {
	if len(via) > 3 || req.URL.Scheme != "https" || req.URL.Host != via[0].URL.Host {
		return errors.New("it leads elsewhere")
	}
	return nil
}

func (g *getter) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if req.URL.Scheme != "https" {
		return nil, fmt.Errorf("get %s: it is not https", url)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "relay") // GitHub wants to hear one
	res, err := g.client.Do(req)
	if err != nil {
		return nil, err // it says what and where
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: answered %s", url, res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("get %s: %w", url, err)
	case len(text) > maxDocument:
		return nil, fmt.Errorf("get %s: it is larger than 8 MiB", url)
	}
	return text, nil
}
