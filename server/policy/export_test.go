package policy

import (
	"context"
	"net/http"
)

// Get is the default of ListOptions.Fetch with another transport.
func Get(ctx context.Context, rt http.RoundTripper, url string) ([]byte, error) {
	g := httpsGetter()
	g.client.Transport = rt
	return g.get(ctx, url)
}
