package api

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// BackupType is the media type of a backup: a tar.gz.
const BackupType = "application/gzip"

// Snapshot is a copy of all that the server keeps. Send writes it, once; Close ends it.
type Snapshot interface {
	Send(ctx context.Context, w io.Writer) error
	Close()
}

type backupInput struct {
	Body struct {
		Key bool `json:"key,omitempty" doc:"With the server key, by which certificates and senders' secrets in it can be read"`
	}
}

// backup gives a copy of the server's store. What takes time and can fail is done before
// the answer begins.
func (a *api) backup() {
	if a.o.Snapshot == nil {
		return
	}
	huma.Register(a, huma.Operation{
		OperationID: "create-backup", Method: http.MethodPost, Path: Prefix + "/backup",
		Summary: "A copy of all that the server keeps, for relay restore; for admins",
		Errors:  []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests},
		Responses: map[string]*huma.Response{"200": {
			Description: "A tar.gz with relay.db, and with relay.key if that was asked for",
			Content:     map[string]*huma.MediaType{BackupType: {}},
		}},
	}, func(ctx context.Context, in *backupInput) (*huma.StreamResponse, error) {
		if err := caller(ctx).admin(); err != nil {
			return nil, a.problem(err)
		}
		if in.Body.Key {
			about(ctx, "with the server key")
		}
		n, err := a.o.Snapshot(ctx, in.Body.Key)
		if err != nil {
			return nil, a.problem(err)
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			defer n.Close()
			hc.SetHeader("Content-Type", BackupType)
			hc.SetHeader("Content-Disposition", `attachment; filename="relay-backup.tar.gz"`)
			if err := n.Send(hc.Context(), hc.BodyWriter()); err != nil {
				a.log.Error("a backup was cut short", "err", err) // its reader sees that it has no end
			}
		}}, nil
	})
}
