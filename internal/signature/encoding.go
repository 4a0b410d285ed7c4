package signature

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
)

// lastSecond is the end of the year 9999, until which times can be written.
const lastSecond = 253402300799

// readTime reads a timestamp; digits only, so that there is one way to write it.
func readTime(text string, u Unit) (time.Time, bool) {
	if u == RFC3339 {
		t, err := time.Parse(time.RFC3339Nano, text)
		return t, err == nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return time.Time{}, false
	}
	t := int64(n)
	if u == Millis && t <= lastSecond*1000 {
		return time.UnixMilli(t), true
	}
	if u == Seconds && t <= lastSecond {
		return time.Unix(t, 0), true
	}
	return time.Time{}, false
}

// writeTime is the other way round.
func writeTime(t time.Time, u Unit) string {
	switch u {
	case RFC3339:
		return t.UTC().Format(time.RFC3339)
	case Millis:
		return strconv.FormatInt(t.UnixMilli(), 10)
	}
	return strconv.FormatInt(t.Unix(), 10)
}

func (e Encoding) decode(text string) ([]byte, error) {
	switch e {
	case Hex:
		return hex.DecodeString(text)
	case Base64:
		return base64.StdEncoding.Strict().DecodeString(text)
	case Base64URL:
		return base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
	}
	return nil, errors.New("the encoding is not known")
}

func (e Encoding) encode(b []byte) string {
	switch e {
	case Base64:
		return base64.StdEncoding.EncodeToString(b)
	case Base64URL:
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return hex.EncodeToString(b)
}
