package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/protocol"
)

const (
	// callTimeout is how long a call of the API may take.
	callTimeout = 30 * time.Second
	// maxAnswer is the longest answer that is read, in bytes.
	maxAnswer = 64 << 20
)

// problemError is a call of the API that the server refused: problem+json with a
// code.
type problemError struct {
	Code   string `json:"code"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
	Filter *capture.FilterError `json:"filter"` // where a filter is wrong
}

func (p *problemError) Error() string {
	s := p.Detail
	for _, e := range p.Errors {
		s += fmt.Sprintf(" (%s: %s)", e.Location, e.Message)
	}
	return s
}

// exitCode is that of the command that called.
func (p *problemError) exitCode() int {
	switch p.Code {
	case "auth", "denied":
		return exitAuth
	case "taken":
		return exitConflict
	case "internal", "limit", "offline":
		return exitUnreachable
	}
	return exitFailure
}

// call makes one call of the server's API. in is sent as JSON unless it is nil; the
// answer is read into out unless that is nil.
func call(ctx context.Context, cred credential, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return callUntil(ctx, cred, method, path, in, out)
}

// callUntil is call for what takes as long as ctx lets it.
func callUntil(ctx context.Context, cred credential, method, path string, in, out any) error {
	res, err := do(ctx, cred, method, path, in)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return &client.UnreachableError{Server: cred.server, Err: client.Plainly(err)}
	}
	if out == nil || res.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return stranger(cred.server, res.StatusCode)
	}
	return nil
}

// do sends a call and returns an answer of success; the caller closes its body.
func do(ctx context.Context, cred credential, method, path string, in any) (*http.Response, error) {
	return doWith(ctx, cred, method, path, in, nil)
}

// doWith is do with fields of its own in the head.
func doWith(ctx context.Context, cred credential, method, path string, in any, header http.Header) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, cred.server+"/api/v1"+path, body)
	if err != nil {
		return nil, usagef("%q is not the address of a server", cred.server)
	}
	maps.Copy(req.Header, header)
	if cred.token != "" { // the agent's inspector asks for none
		req.Header.Set("Authorization", "Bearer "+cred.token)
	}
	req.Header.Set("User-Agent", software())
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	t := &http.Transport{Proxy: cred.proxy(), DialContext: cred.dialer(client.DialContext), TLSClientConfig: cred.tls.Clone(), DisableKeepAlives: true, ForceAttemptHTTP2: true}
	res, err := (&http.Client{Transport: t, CheckRedirect: sameServer}).Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, &client.UnreachableError{Server: cred.server, Err: client.Plainly(err)}
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	p := &problemError{}
	if json.Unmarshal(text, p) != nil || p.Detail == "" {
		return nil, stranger(cred.server, res.StatusCode)
	}
	return nil, p
}

// sameServer follows redirects from http to https, and no others: a token goes to
// nobody else.
func sameServer(req *http.Request, via []*http.Request) error {
	if len(via) > 3 || req.URL.Hostname() != via[0].URL.Hostname() || req.URL.Scheme != "https" {
		return errors.New("the server sends elsewhere")
	}
	return nil
}

func stranger(server string, status int) error {
	return &protocol.Error{Code: protocol.CodeProtocol, Message: fmt.Sprintf(
		"%s answered %d: it does not look like a relay server. Check the address.", server, status)}
}
