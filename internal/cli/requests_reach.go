package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/inspector"
)

// historyFlags say who is asked for recorded requests.
func historyFlags() []urfave.Flag {
	return append([]urfave.Flag{
		&urfave.StringFlag{Name: "inspector", EnvVars: []string{"RELAY_INSPECTOR"}, Usage: "`ADDRESS` or port of the agent's inspector", DefaultText: "that of the newest agent here, or " + inspectAddr},
		&urfave.BoolFlag{Name: "remote", Usage: "ask the server, although an agent runs here"},
	}, serverFlags()...)
}

// history is who has recorded requests: an agent on this machine, or the server. Both have
// the same API.
type history struct {
	credential
	local    bool
	fallback bool // no agent was found, so it is the server
}

// nobody says that no record can be reached, in one sentence.
type nobody struct{ msg string }

func (n *nobody) Error() string { return n.msg }

// sessionTimeout is how long an address of this machine may take to say who it is.
const sessionTimeout = 2 * time.Second

// historyOf finds who is to be asked: what the flags name, or the agent here, or the
// server.
func historyOf(c *urfave.Context) (*history, error) {
	if c.Bool("remote") {
		cred, err := credentials(c)
		return &history{credential: cred}, err
	}
	if r, err := localHistory(c); r != nil || err != nil {
		return r, err
	}
	cred, err := credentials(c)
	var unknown *usageError
	switch {
	case errors.As(err, &unknown) && c.String("server") == "" && c.String("token") == "":
		return nil, &nobody{"no agent with an inspector runs here, and no server is known: start relay http 3000, or run relay login https://relay.example.com"}
	case err != nil:
		return nil, err
	}
	return &history{credential: cred, fallback: true}, nil
}

// localHistory finds the agent; nil is none, unless one was named.
func localHistory(c *urfave.Context) (*history, error) {
	if given := c.String("inspector"); given != "" {
		at, err := inspectorURLOf(given)
		if err != nil {
			return nil, err
		}
		r := &history{credential: credential{server: at}, local: true}
		if err := r.isAgent(c.Context); err != nil {
			return nil, &nobody{fmt.Sprintf("no agent answers at %s: %v. Start relay http, or leave out --inspector", at, err)}
		}
		return r, nil
	}
	candidates := []string{}
	for _, w := range readWhereabouts() {
		candidates = append(candidates, w.URL)
	}
	for _, at := range append(candidates, "http://"+inspectAddr) {
		r := &history{credential: credential{server: at}, local: true}
		if r.isAgent(c.Context) == nil {
			return r, nil
		}
	}
	return nil, nil //nolint:nilnil // there is none
}

// inspectorURLOf reads the address of an inspector as people write it.
func inspectorURLOf(s string) (string, error) {
	at := s
	if _, err := strconv.ParseUint(at, 10, 16); err == nil {
		at = "127.0.0.1:" + at
	}
	if !strings.Contains(at, "://") {
		at = "http://" + at
	}
	u, err := url.Parse(at)
	if err != nil || u.Host == "" || u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", usagef("--inspector %s: give an address like %s, or a port", s, inspectAddr)
	}
	return "http://" + u.Host, nil
}

// isAgent asks whoever listens there whether it is an agent's inspector.
func (r *history) isAgent(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	var session struct {
		Mode string `json:"mode"`
	}
	err := r.call(ctx, http.MethodGet, "/session", nil, &session)
	var none *client.UnreachableError
	switch {
	case errors.As(err, &none):
		return none.Err
	case err != nil || session.Mode != "agent":
		return errors.New("something else listens there")
	}
	return nil
}

// call makes one call of the API; see call.
func (r *history) call(ctx context.Context, method, path string, in, out any) error {
	return r.explain(call(ctx, r.credential, method, path, in, out))
}

// get opens an answer of the API that is read bit by bit. The caller closes it.
func (r *history) get(ctx context.Context, path string) (*http.Response, error) {
	res, err := do(ctx, r.credential, http.MethodGet, path, nil)
	return res, r.explain(err)
}

// copy writes an answer of the API to w, and returns its header.
func (r *history) copy(ctx context.Context, path string, w io.Writer) (http.Header, error) {
	res, err := r.get(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(w, res.Body); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", r.server, err)
	}
	return res.Header, nil
}

// explain says of a record that cannot be reached which one it is.
func (r *history) explain(err error) error {
	var none *client.UnreachableError
	switch {
	case !errors.As(err, &none):
		return err
	case r.fallback:
		return &nobody{fmt.Sprintf("no agent with an inspector runs here, and the server %s cannot be reached: %v", r.server, none.Err)}
	case r.local:
		return fmt.Errorf("the agent does not answer any more: %w", none)
	}
	return err
}

const (
	// historyPage is how many requests one call lists.
	historyPage = 500
)

// each calls f for the requests that a filter chooses, the newest first, at most limit of
// them; 0 is no limit.
func (r *history) each(ctx context.Context, filter string, limit int, f func(inspector.Summary) error) error {
	q := url.Values{}
	if filter != "" {
		q.Set("filter", filter)
	}
	for got := 0; ; {
		n := historyPage
		if limit > 0 {
			n = min(n, limit-got)
		}
		q.Set("limit", strconv.Itoa(n))
		var page struct {
			Items []inspector.Summary `json:"items"`
			Next  string              `json:"next"`
		}
		if err := r.call(ctx, http.MethodGet, "/requests?"+q.Encode(), nil, &page); err != nil {
			return filterProblem(err, filter)
		}
		for _, s := range page.Items {
			if err := f(s); err != nil {
				return err
			}
		}
		got += len(page.Items)
		if page.Next == "" || limit > 0 && got >= limit {
			return nil
		}
		q.Set("before", page.Next)
	}
}

// exchange gets one with its bodies; its secrets are masked unless reveal is true.
func (r *history) exchange(ctx context.Context, id string, reveal bool) (*capture.Exchange, error) {
	var x capture.Exchange
	err := r.call(ctx, http.MethodGet, requestPath(id, "/export", url.Values{"format": {"json"}}, reveal), nil, &x)
	return &x, err
}

// requestPath is where one request is, or a part of it.
func requestPath(id, part string, q url.Values, reveal bool) string {
	if q == nil {
		q = url.Values{}
	}
	if reveal {
		q.Set("reveal", "1")
	}
	path := "/requests/" + url.PathEscape(id) + part
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return path
}
