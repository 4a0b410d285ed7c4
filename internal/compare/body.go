package compare

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"unicode/utf8"

	"github.com/relaytunnel/relay/internal/capture"
)

// decodeLimit bounds a body that is uncompressed to be compared: a small one may be a
// huge one compressed.
const decodeLimit = 64 << 20

// around is how many lines stand around those that differ.
const around = 2

// body compares two bodies without their Content-Encoding, as far as that is known.
func (r *Rules) body(a, b *capture.Body) []Change {
	before, _, okBefore := a.Decode(decodeLimit)
	after, _, okAfter := b.Decode(decodeLimit)
	known := okBefore && okAfter
	if !known { // as they are
		before, after = a.Kept, b.Kept
	}
	if bytes.Equal(before, after) {
		return nil
	}
	if known && mayBeJSON(a.Type, before) && mayBeJSON(b.Type, after) {
		x, errX := parse(before)
		y, errY := parse(after)
		if errX == nil && errY == nil {
			d := difference{rules: r}
			d.values(nil, x, y)
			return d.changes
		}
	}
	if known && isText(before) && isText(after) {
		lines, _ := Lines(string(before), string(after))
		return []Change{{Part: "body", Kind: kindOf(before, after), Lines: Around(lines, around)}}
	}
	at := 0
	for at < len(before) && at < len(after) && before[at] == after[at] {
		at++
	}
	return []Change{{
		Part: "body", Kind: kindOf(before, after), Before: sum(before),
		After: sum(after) + fmt.Sprintf(", another from byte %d on", at),
	}}
}

func kindOf(before, after []byte) Kind {
	switch {
	case len(before) == 0:
		return Added
	case len(after) == 0:
		return Removed
	}
	return Changed
}

func sum(b []byte) string { return fmt.Sprintf("%d bytes, sha256 %x", len(b), sha256.Sum256(b)) }

func isText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }

func mayBeJSON(kind string, b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return capture.IsJSON(kind) || len(b) > 0 && (b[0] == '{' || b[0] == '[')
}
