package trigger

import (
	"fmt"
	"mime"
	"net/url"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// Set changes one value of the body and leaves all other bytes as they are. In a
// JSON body the path goes by names and numbers with dots between them
// ("data.object.amount"; \. is a dot in a name, -1 after a list adds to it), and a
// value that is JSON is put there as it is, any other as a text. In a form the path
// is the name of a field.
func (e *Event) Set(path, value string) error {
	if path == "" {
		return fmt.Errorf("set %q: it names no place", value)
	}
	if e.isForm() {
		e.setField(path, value)
		return nil
	}
	if !gjson.ValidBytes(e.Body) {
		return fmt.Errorf("set %s: the body is not JSON", path)
	}
	for i := 1; i < len(path); i++ {
		if path[i] != '.' || path[i-1] == '\\' {
			continue
		}
		if at := gjson.GetBytes(e.Body, path[:i]); at.Exists() && !at.IsObject() && !at.IsArray() && at.Type != gjson.Null {
			return fmt.Errorf("set %s: there is nothing inside of %s", path, path[:i])
		}
	}
	raw := value
	if !gjson.Valid(value) {
		raw = string(gjson.AppendJSONString(nil, value))
	}
	body, err := sjson.SetRawBytes(e.Body, path, []byte(raw))
	if err != nil {
		return fmt.Errorf("set %s: %w", path, err)
	}
	e.Body = body
	return nil
}

func (e *Event) isForm() bool {
	media, _, _ := mime.ParseMediaType(e.Header.Get("Content-Type"))
	return media == "application/x-www-form-urlencoded"
}

// setField changes the first field of the name, or adds it.
func (e *Event) setField(name, value string) {
	field := url.QueryEscape(name) + "=" + url.QueryEscape(value)
	var fields []string
	if len(e.Body) > 0 {
		fields = strings.Split(string(e.Body), "&")
	}
	for i, f := range fields {
		key, _, _ := strings.Cut(f, "=")
		if plain, err := url.QueryUnescape(key); err == nil && plain == name {
			fields[i] = field
			e.Body = []byte(strings.Join(fields, "&"))
			return
		}
	}
	e.Body = []byte(strings.Join(append(fields, field), "&"))
}
