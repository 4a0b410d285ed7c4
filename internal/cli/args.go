package cli

import (
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// reorder puts the flags of a command before its arguments. The library stops at
// the first argument and would silently ignore the flags in
// "relay http 3000 --name x". What follows "--" stays.
func reorder(app *urfave.App, args []string) []string {
	if len(args) < 2 {
		return args
	}
	at := 1
	for at < len(args) && strings.HasPrefix(args[at], "-") {
		at++
	}
	if at >= len(args) {
		return args
	}
	cmd := app.Command(args[at])
	if cmd == nil {
		return args
	}
	for at+1 < len(args) {
		sub := cmd.Command(args[at+1])
		if sub == nil {
			break
		}
		cmd = sub
		at++
	}
	takesValue := map[string]bool{}
	for _, f := range cmd.Flags {
		_, isBool := f.(*urfave.BoolFlag)
		for _, n := range f.Names() {
			takesValue[n] = !isBool
		}
	}
	var flags, rest []string
	in := args[at+1:]
	for i := 0; i < len(in); i++ {
		a := in[i]
		if a == "--" {
			rest = append(rest, in[i:]...)
			break
		}
		if len(a) < 2 || a[0] != '-' || isTermNot(a) {
			rest = append(rest, a)
			continue
		}
		flags = append(flags, a)
		name, _, hasValue := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if !takesValue[name] || hasValue {
			continue
		}
		if i+1 == len(in) {
			// It has no value, and must not take an argument for one: leave these
			// out, and the library says what is missing.
			return append(append([]string(nil), args[:at+1]...), flags...)
		}
		i++
		flags = append(flags, in[i])
	}
	out := append([]string(nil), args[:at+1]...)
	out = append(out, flags...)
	if len(rest) > 0 && isTermNot(rest[0]) {
		out = append(out, "--")
	}
	return append(out, rest...)
}

// isTermNot tells whether an argument is a term of a filter that is not to be true, like
// -status:2xx, and no flag: those have no colon in their names.
func isTermNot(a string) bool {
	name, _, ok := strings.Cut(strings.TrimPrefix(a, "-"), ":")
	return ok && len(a) > 1 && a[0] == '-' && a[1] != '-' && !strings.Contains(name, "=")
}
