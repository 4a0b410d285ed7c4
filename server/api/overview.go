package api

import (
	"context"
	"net/http"
	"time"
)

// Overview is what one user wants to see at a glance.
type Overview struct {
	Endpoints    []EndpointState `json:"endpoints" nullable:"false"`
	Series       []TrafficPoint  `json:"series" nullable:"false" doc:"Requests to one's names in the last 24 hours, the oldest first"`
	Pending      int             `json:"pending" doc:"Events that are not delivered yet"`
	Dead         int             `json:"dead" doc:"Events that were given up"`
	Recorded     RecordedState   `json:"recorded"`
	Certificates []Certificate   `json:"certificates" nullable:"false" doc:"Those of one's own names; for admins all"`
}

// EndpointState is how a name is.
type EndpointState struct {
	Name    string `json:"name"`
	URL     string `json:"url"`
	Live    bool   `json:"live" doc:"An agent serves it just now"`
	Agent   string `json:"agent,omitempty"`
	Inbox   string `json:"inbox" enum:"off,fallback,always"`
	Record  bool   `json:"record"`
	Pending int    `json:"pending"`
	Dead    int    `json:"dead"`
	Events  int    `json:"events"`
}

// TrafficPoint is one step of time.
type TrafficPoint struct {
	At       time.Time `json:"at" doc:"When the step began"`
	Requests int64     `json:"requests"`
	Errors   int64     `json:"errors" doc:"Without an answer, or with a status from 500 on"`
}

// RecordedState is what is kept of requests and answers.
type RecordedState struct {
	Kept    int    `json:"kept"`
	Bytes   int64  `json:"bytes"`
	Dropped uint64 `json:"dropped" doc:"Not kept for want of time or room, since the server started"`
}

func (a *api) overview() {
	if a.o.Overview == nil {
		return
	}
	operation(a, http.MethodGet, "/overview", "overview", "One's names, traffic, backlog and certificates at a glance",
		func(ctx context.Context, c Caller, _ *none) (*body[Overview], error) {
			out, err := a.o.Overview(ctx, c.User)
			return &body[Overview]{out}, err
		})
}
