package capture

// A Path is a way into JSON documents, as filters and masks have it: .action,
// .items[0].id, .items[*].id, .*.key, .["odd key"].
type Path struct{ steps jsonPath }

// ParsePath reads a path. The error is a sentence for people.
func ParsePath(s string) (Path, error) {
	p, err := parseJSONPath(s)
	return Path{p}, err
}

// Leads tells whether the path leads to a place, which is the keys (string) and
// indexes (int) on the way there.
func (p Path) Leads(to []any) bool {
	if len(to) != len(p.steps) {
		return false
	}
	for i, step := range p.steps {
		at := jsonLevel{}
		switch v := to[i].(type) {
		case string:
			at.key = v
		case int:
			at.array, at.index = true, v
		default:
			return false
		}
		if !step.takes(&at) {
			return false
		}
	}
	return true
}
