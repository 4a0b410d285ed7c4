package compare

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/relaytunnel/relay/internal/capture"
)

// parse reads one JSON value, with numbers as they are written.
func parse(b []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(b, []byte("\ufeff"))))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if d.More() {
		return nil, errors.New("read JSON: something follows the value")
	}
	return v, nil
}

// difference gathers where two JSON documents differ.
type difference struct {
	rules   *Rules
	changes []Change
}

func (d *difference) add(kind Kind, at []any, before, after any) {
	if d.rules.ignores(at) {
		return
	}
	c := Change{Part: "body", At: pathOf(at), Kind: kind}
	if kind != Added {
		c.Before = written(before)
	}
	if kind != Removed {
		c.After = written(after)
	}
	d.changes = append(d.changes, c)
}

func written(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // of what was read it cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}

// values compares what is at one place.
func (d *difference) values(at []any, a, b any) {
	if d.rules.ignores(at) {
		return
	}
	at = at[:len(at):len(at)] // what is below must not write into it
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			d.objects(at, x, y)
			return
		}
	case []any:
		if y, ok := b.([]any); ok {
			d.arrays(at, x, y)
			return
		}
	}
	if !same(a, b) {
		d.add(Changed, at, a, b)
	}
}

func (d *difference) objects(at []any, a, b map[string]any) {
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		x, inA := a[key]
		y, inB := b[key]
		switch below := append(at, key); {
		case !inA:
			d.add(Added, below, nil, y)
		case !inB:
			d.add(Removed, below, x, nil)
		default:
			d.values(below, x, y)
		}
	}
}

// aligned is how deep arrays of different lengths are aligned. Each level reads all that
// is below it once more.
const aligned = 32

// arrays compares element by element. Where one has more of them, what stands between
// the equal beginnings and the equal ends is compared, so that one element more is one
// change. Places are those of b, and of a where b has none.
func (d *difference) arrays(at []any, a, b []any) {
	head, tail := 0, 0
	if len(a) != len(b) && len(at) < aligned {
		for head < min(len(a), len(b)) && d.alike(append(at, head), a[head], b[head]) {
			head++
		}
		for tail < min(len(a), len(b))-head && d.alike(append(at, len(b)-1-tail), a[len(a)-1-tail], b[len(b)-1-tail]) {
			tail++
		}
	}
	for i := head; i < max(len(a), len(b))-tail; i++ {
		switch below := append(at, i); {
		case i >= len(a)-tail:
			d.add(Added, below, nil, b[i])
		case i >= len(b)-tail:
			d.add(Removed, below, a[i], nil)
		default:
			d.values(below, a[i], b[i])
		}
	}
}

// alike tells whether two values are the same, so far as it matters.
func (d *difference) alike(at []any, a, b any) bool {
	if d.rules.ignores(at) {
		return true
	}
	at = at[:len(at):len(at)]
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for key, v := range x {
			if w, in := y[key]; !in || !d.alike(append(at, key), v, w) {
				return false
			}
		}
		return true
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !d.alike(append(at, i), x[i], y[i]) {
				return false
			}
		}
		return true
	}
	return same(a, b)
}

// same compares two values of which one at least is neither object nor array. A masked
// one may have been anything.
func same(a, b any) bool {
	if a == any(capture.Mask) {
		return true
	}
	switch x := a.(type) {
	case json.Number:
		y, ok := b.(json.Number)
		return ok && (x == y || number(string(x)) == number(string(y)))
	case string, bool, nil:
		return a == b
	}
	return false
}

// number writes a number in one way only, of the many that JSON has: 1, 1.0 and 10e-1
// are the same. It does not calculate, so that no digit is lost and no exponent is too
// large.
func number(s string) string {
	sign := ""
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		sign, s = "-", rest
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	e := 0
	if exponent != "" {
		var err error
		if e, err = strconv.Atoi(exponent); err != nil {
			return sign + s
		}
	}
	e -= len(fraction)
	digits := strings.TrimLeft(whole+fraction, "0")
	short := strings.TrimRight(digits, "0")
	if short == "" {
		return "0"
	}
	return sign + short + "e" + strconv.Itoa(e+len(digits)-len(short))
}
