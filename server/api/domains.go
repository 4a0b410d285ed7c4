package api

// Domains are the operations on users' own domains.
type Domains struct{}

func (a *api) domains() {}
