package tui

import (
	"net/url"
	"strings"

	"github.com/mdp/qrterminal/v3"
)

// qrCode draws a URL for a phone's camera, two rows of squares in a line of text. The
// white around it is as wide as the room allows: four squares, as the standard wants it,
// or less, with which cameras mostly do. It returns nil when there is no room even so.
func qrCode(u string, w, h int) []string {
	for quiet := 4; quiet > 0; quiet-- {
		var b strings.Builder
		qrterminal.GenerateWithConfig(qrText(u), qrterminal.Config{
			Level: qrterminal.L, Writer: &b, HalfBlocks: true, QuietZone: quiet,
			BlackChar: qrterminal.BLACK_BLACK, WhiteChar: qrterminal.WHITE_WHITE,
			BlackWhiteChar: qrterminal.BLACK_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
		})
		lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
		if len(lines) <= h && width(lines[0]) <= w {
			return lines
		}
	}
	return nil
}

// qrText is what the code of a URL says. A URL without a path is the same in capitals,
// and capitals make a smaller code: it then fits a small window.
func qrText(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return s
	}
	return strings.ToUpper(s)
}
