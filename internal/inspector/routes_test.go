package inspector

// Routes are the method and path of each call, for the tests of the document.
func Routes() []string {
	var out []string
	for _, r := range (&handler{}).routes() {
		out = append(out, r.method+" "+r.path)
	}
	return out
}
