package capture

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"
)

// Decode undoes a body's Content-Encoding, up to limit bytes: a small body may be a
// huge one compressed. whole is false when there is more than that, or the end is
// missing. ok is false for encodings that are not known and for data that is not what
// they say; the bytes are the body's own then.
func (b *Body) Decode(limit int64) (data []byte, whole, ok bool) {
	var (
		r   io.Reader
		err error
	)
	switch strings.ToLower(strings.TrimSpace(b.Encoding)) {
	case "", "identity":
		return b.Kept, !b.Truncated, true
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(b.Kept))
	case "deflate":
		if r, err = zlib.NewReader(bytes.NewReader(b.Kept)); err != nil { // as some send it
			r, err = flate.NewReader(bytes.NewReader(b.Kept)), nil
		}
	default:
		return b.Kept, !b.Truncated, false
	}
	if err != nil {
		return b.Kept, !b.Truncated, false
	}
	data, err = io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case int64(len(data)) > limit:
		return data[:limit], false, true
	case err == nil:
		return data, !b.Truncated, true
	case errors.Is(err, io.ErrUnexpectedEOF) && (b.Truncated || len(data) > 0): // cut off, or not over
		return data, false, true
	}
	return b.Kept, !b.Truncated, false
}
