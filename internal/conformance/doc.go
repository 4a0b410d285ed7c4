// Package conformance judges the true binary from outside.
//
// It holds tests alone and imports nothing of the product: it builds `relay` once, starts a server and an agent as a user would,
// puts an app behind them, and looks at what visitors get and what the app sees. What it demands is written down in the design
// (what a visitor gets when something is wrong), in the rows E01 to E34 of the edge, and in the RFCs; never in the product's code.
//
// Every check walks over the same roads: the agent that parses HTTP (the default) and the agent that splices bytes
// (`--no-inspect`), with HTTP/1.1 and h2c visitors where that makes a difference.
//
// Settings, all from the environment:
//
//	RELAY_BIN=path         judge this binary instead of building one
//	RELAY_RACE=1           build with the race detector; a reported race fails the test that caused it
//	RELAY_ROAD=direct      no tunnel: the visitor meets the app. Proves the checks, not the product
//	RELAY_ROAD=proxy       a plain httputil.ReverseProxy in the tunnel's place, for the same purpose
//	RELAY_LONG=1           the full counts (100 000 POSTs, a million tagged exchanges)
//
// Begin at world_test.go: it starts the processes. wire_test.go is the visitor that speaks bytes, ledger_test.go the app that
// writes down every byte it was sent and objects to any breach of grammar.
package conformance
