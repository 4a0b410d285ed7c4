package tui

import (
	"net/url"
	"strings"

	"github.com/mdp/qrterminal/v3"
)

// qrCode draws a URL for a phone's camera, two rows of squares in a line of text.
func qrCode(u string) []string {
	var b strings.Builder
	qrterminal.GenerateWithConfig(qrText(u), qrterminal.Config{
		Level: qrterminal.L, Writer: &b, HalfBlocks: true, QuietZone: 1,
		BlackChar: qrterminal.BLACK_BLACK, WhiteChar: qrterminal.WHITE_WHITE,
		BlackWhiteChar: qrterminal.BLACK_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
	})
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
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
