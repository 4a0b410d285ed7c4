package tui

import "charm.land/lipgloss/v2"

// styles are the looks of the screen. The colors are the terminal's own first eight, so
// that they fit its theme, dark or light.
type styles struct {
	plain, dim, bold      lipgloss.Style
	good, info, warn, bad lipgloss.Style
	key, dark             lipgloss.Style
}

func newStyles(noColor bool) styles {
	plain := lipgloss.NewStyle()
	s := styles{
		plain: plain, dim: plain.Faint(true), bold: plain.Bold(true),
		good: plain, info: plain, warn: plain, bad: plain.Bold(true), key: plain.Bold(true), dark: plain,
	}
	if noColor {
		return s
	}
	s.good = plain.Foreground(lipgloss.Color("2"))
	s.info = plain.Foreground(lipgloss.Color("6"))
	s.warn = plain.Foreground(lipgloss.Color("3"))
	s.bad = plain.Foreground(lipgloss.Color("1"))
	s.key = plain.Foreground(lipgloss.Color("6"))
	// A QR code must be black on white or white on black in any theme: these two are
	// the same in all.
	s.dark = plain.Foreground(lipgloss.Color("231")).Background(lipgloss.Color("16"))
	return s
}

// status is the style of a status code; 0 is no answer.
func (s *styles) status(code int) lipgloss.Style {
	switch {
	case code == 0 || code >= 500:
		return s.bad
	case code >= 400:
		return s.warn
	case code >= 300:
		return s.info
	}
	return s.good
}
