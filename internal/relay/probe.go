package relay

// ProbePath is answered by the server itself at every name that is held, with 204
// and ProbeHeader: so an agent, or whoever else wants to know, can try the whole
// public way to a name without asking the app.
const ProbePath = "/.well-known/relay"

// ProbeHeader says in the answer whether an agent is there: ProbeLive or ProbeAway.
const (
	ProbeHeader = "Relay-Tunnel"
	ProbeLive   = "live"
	ProbeAway   = "away"
)
