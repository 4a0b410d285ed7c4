package signature

import "sync"

// The tables: schemes_code.go (where software is made), schemes_money.go,
// schemes_people.go (chat, mail, telephone, marketing, documents) and
// schemes_common.go (standards and what users describe themselves). A line is
// there because something besides its description agrees with it: the sender's
// own library or the example of its documentation, which the tests name.

// table is all schemes in the order in which Detect asks them.
var table = sync.OnceValue(func() []Scheme {
	var all []Scheme
	for _, part := range [][]Scheme{code, money, people, common} {
		all = append(all, part...)
	}
	return all
})

var byName = sync.OnceValue(func() map[string]Scheme {
	names := make(map[string]Scheme)
	for _, s := range table() {
		names[s.Name] = s
	}
	return names
})

// body is the content of most schemes.
var body = []string{"{body}"}

// one is a header with one name.
func one(name string) []string { return []string{name} }
