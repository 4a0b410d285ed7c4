package signature

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Explain says in one or two sentences why a request does not verify, or that
// it does. It does not guess where it can try: each cause it names as a fact
// was computed and makes the signature fit.
//
// It takes some hundred times as long as Verify. Call it for a person who
// looks, not for each request that comes.
func Explain(s Scheme, secrets []string, r Request, now time.Time) string {
	m := &message{Request: r}
	err := m.verify(s, secrets, now)
	if err == nil {
		return "The signature is right."
	}
	switch err.Reason {
	case NoSecret:
		return fmt.Sprintf("No secret is configured for %s; it needs %s.", s.Title, s.Secret())
	case NotSigned:
		return s.Title + " does not sign its requests, so there is nothing to verify."
	case TooOld:
		return fmt.Sprintf("The signature is right, but it was made %s ago and %s allows %s. The request was held up on its way, somebody sends it again, or the clock of one side is wrong.",
			spell(err.By), s.Title, tolerance(s))
	case TooNew:
		return fmt.Sprintf("The signature is right, but its time is %s in the future and %s allows %s. The clock here or that of the sender is wrong.",
			spell(-err.By), s.Title, tolerance(s))
	case NoTimestamp:
		return fmt.Sprintf("%s is missing or is there twice with different values; %s signs it, so nothing can be verified without it.", upper(err.Where), s.Title)
	case WrongTimestamp:
		return fmt.Sprintf("%s is not a time as %s writes it.", upper(err.Where), s.Title)
	case ForeignCert:
		return fmt.Sprintf("%s, the address of the certificate, is missing or is not one of https below %s, so it was not fetched: this does not come from %s.", upper(err.Where), s.CertDomain, s.Title)
	case NoCert:
		return fmt.Sprintf("The certificate of %s could not be fetched, or is not one of %s that a known authority has signed, so the signature could not be checked. The server has to reach that address.", s.Title, s.CertDomain)
	case BodyChanged:
		return "The signature is right, but the body is not the one whose hash was signed: something on the way has changed it."
	case BodyUnsigned:
		return fmt.Sprintf("%s signs a body that is not a form only through its hash, and %s is not there; the signature says nothing about this body.", s.Title, err.Where)
	}
	what := symptom(s, err, len(secrets))
	if cause := try(s, secrets, m, now); cause != "" {
		return what + " " + cause
	}
	switch err.Reason {
	case NoHeader:
		return what + " The sender has no secret set, or something on the way has removed the header."
	case WrongSignature:
		if s.sends() {
			return what + " Likely it is that of another endpoint."
		}
		return what + " Likely it is the secret of another endpoint, or of the test instead of the live environment; else the body was changed on its way."
	}
	return what
}

// symptom is the first sentence: what was found.
func symptom(s Scheme, err *Error, secrets int) string {
	switch err.Reason {
	case NoHeader:
		return fmt.Sprintf("The request has no %s, in which %s sends its signature.", err.Where, s.Title)
	case Malformed:
		return fmt.Sprintf("%s is not written as %s writes it: %s.", upper(err.Where), s.Title, strings.TrimPrefix(err.Detail, "it "))
	case Version:
		return fmt.Sprintf("%s has no signature of the version that is known of %s.", upper(err.Where), s.Title)
	case BadSecret:
		return fmt.Sprintf("The configured secret cannot be one of %s: %s.", s.Title, err.Detail)
	}
	switch {
	case s.sends() && secrets > 1:
		return fmt.Sprintf("What was sent as %s is none of the %d secrets.", s.Secret(), secrets)
	case s.sends():
		return fmt.Sprintf("What was sent as %s is not the configured secret.", s.Secret())
	case secrets > 1:
		return fmt.Sprintf("The signature of %s was made with none of the %d secrets, or over other content.", s.Title, secrets)
	}
	return fmt.Sprintf("The signature is not what %s would make of this request with the configured secret.", s.Title)
}

// sends tells whether the secret itself comes with each request.
func (s Scheme) sends() bool { return s.Algorithm == Token || s.Algorithm == Basic }

// maxTried bounds the bodies that are written in other ways to try them.
const maxTried = 1 << 20

// trial is a request that differs in one thing.
type trial struct {
	secrets []string
	request Request
	scheme  Scheme
	cause   string
}

// try looks for a change that makes the signature fit and returns a sentence
// about it.
func try(s Scheme, secrets []string, m *message, now time.Time) string {
	var trials []trial
	for _, way := range s.ways() {
		trials = append(trials, otherSecrets(way, secrets, m)...)
		trials = append(trials, otherURLs(way, secrets, m)...)
		trials = append(trials, otherBodies(way, secrets, m)...)
		trials = append(trials, otherForms(way, secrets, m)...)
	}
	for _, t := range trials {
		if fits(t, now) {
			return t.cause
		}
	}
	return otherScheme(s, secrets, m, now)
}

// fits tells whether the trial verifies, at whatever time it was made.
func fits(t trial, now time.Time) bool {
	err := (&message{Request: t.request}).verifyOne(t.scheme, t.secrets, now)
	return err == nil || err.Reason == TooOld || err.Reason == TooNew
}

// otherSecrets are the secrets as they go wrong when somebody copies them.
func otherSecrets(s Scheme, secrets []string, m *message) []trial {
	var trials []trial
	add := func(scheme Scheme, secret, cause string) {
		if secret != "" {
			trials = append(trials, trial{[]string{secret}, m.Request, scheme, cause})
		}
	}
	asText := s
	asText.Key = Text
	for i, secret := range secrets {
		which := "the secret"
		if len(secrets) > 1 {
			which = fmt.Sprintf("secret %d", i+1)
		}
		if bare := strings.TrimSpace(secret); bare != secret {
			add(s, bare, fmt.Sprintf("It fits without the white space around %s: remove that.", which))
		}
		if bare := strings.Trim(secret, `"'`); bare != secret {
			add(s, bare, fmt.Sprintf("It fits without the quotes around %s: remove them.", which))
		}
		add(s, secret+"\n", fmt.Sprintf("It fits with a line break at the end of %s: the sender has stored it so.", which))
		if plain := html.UnescapeString(secret); plain != secret {
			add(s, plain, fmt.Sprintf("It fits when %s is written without HTML escapes such as &amp;amp;.", which))
		}
		if plain, err := url.QueryUnescape(secret); err == nil && plain != secret {
			add(s, plain, fmt.Sprintf("It fits when the URL encoding of %s is undone.", which))
		}
		if s.Key == PublicKey || s.Algorithm == Token || s.Algorithm == Basic {
			continue
		}
		if s.Key != Text {
			add(asText, secret, fmt.Sprintf("It fits when %s is used as plain text: the sender does not decode it.", which))
			add(asText, strings.TrimPrefix(secret, "whsec_"), fmt.Sprintf("It fits when %s is used as plain text without whsec_.", which))
		}
		if b, err := hex.DecodeString(secret); err == nil && s.Key != HexKey {
			add(asText, string(b), fmt.Sprintf("It fits when %s is decoded from hex: the sender uses its bytes.", which))
		}
		bare := strings.TrimPrefix(secret, "whsec_")
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			if b, err := e.DecodeString(bare); err == nil && s.Key != Whsec {
				add(asText, string(b), fmt.Sprintf("It fits when %s is decoded from base64: the sender uses its bytes.", which))
				break
			}
		}
		if bare != secret && s.Key == Text {
			add(s, bare, fmt.Sprintf("It fits without whsec_ before %s.", which))
		}
	}
	return trials
}

// otherURLs are the addresses by which the sender may know this one, for those
// who sign it.
func otherURLs(s Scheme, secrets []string, m *message) []trial {
	if !s.signs("url") && !s.signs("path") {
		return nil
	}
	var trials []trial
	add := func(address, cause string) {
		if address == m.URL {
			return
		}
		r := m.Request
		r.URL = address
		trials = append(trials, trial{secrets, r, s, cause + " The sender signs the address as it stands in its settings."})
	}
	if rest, ok := strings.CutPrefix(m.URL, "https://"); ok {
		add("http://"+rest, "It fits if the address begins with http:// and not https://.")
	} else if rest, ok := strings.CutPrefix(m.URL, "http://"); ok {
		add("https://"+rest, "It fits if the address begins with https:// and not http://: TLS may end before this server.")
	}
	add(address(m.URL, "port"), "It fits if the address has its port.")
	add(address(m.URL, "noport"), "It fits if the address has no port.")
	path, search, hasQuery := strings.Cut(m.URL, "?")
	if hasQuery {
		add(path, "It fits if the address has no query.")
		search = "?" + search
	}
	if bare, ok := strings.CutSuffix(path, "/"); ok {
		add(bare+search, "It fits if the address has no slash at its end.")
	} else {
		add(path+"/"+search, "It fits if the address has a slash at its end.")
	}
	if u, err := url.Parse(m.URL); err == nil {
		for _, name := range []string{"X-Forwarded-Host", "X-Original-Host", "Host"} {
			if host := m.Header.Get(name); host != "" && host != u.Host {
				add(strings.Replace(m.URL, "://"+u.Host, "://"+host, 1), fmt.Sprintf("It fits if the host of the address is %q, as in %s.", host, name))
			}
		}
	}
	return trials
}

// otherBodies are the bodies that this one may have been.
func otherBodies(s Scheme, secrets []string, m *message) []trial {
	if !s.signs("body") && !s.signs("crc32") || len(m.Body) > maxTried {
		return nil
	}
	var trials []trial
	add := func(body []byte, cause string) {
		if !bytes.Equal(body, m.Body) {
			r := m.Request
			r.Body = body
			trials = append(trials, trial{secrets, r, s, cause})
		}
	}
	b := m.Body
	const changed = " Something between the sender and here has changed the body, or the sender signs another form than it sends."
	add(bytes.TrimRight(b, "\r\n"), "It fits without the line break at the end of the body."+changed)
	add(append(slices.Clone(b), '\n'), "It fits with a line break at the end of the body."+changed)
	add(append(slices.Clone(b), "\r\n"...), "It fits with a line break (CR LF) at the end of the body."+changed)
	add(bytes.TrimSpace(b), "It fits without the white space around the body."+changed)
	add(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), "It fits if lines end in LF and not in CR LF."+changed)
	add(bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n")), "It fits if lines end in CR LF and not in LF."+changed)
	add(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), "It fits without the byte order mark before the body."+changed)
	add(nil, "It fits an empty body: the body was added on the way, or the sender signed before it was there.")
	if m.isForm() {
		add([]byte(m.fields().Get("payload")), "It fits the field payload of the form alone: this sender signs the document and not the form.")
		if plain, err := url.QueryUnescape(string(b)); err == nil {
			add([]byte(plain), "It fits the form with its URL encoding undone."+changed)
		}
	}
	if z, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
		if plain, err := io.ReadAll(io.LimitReader(z, maxTried)); err == nil {
			add(plain, "It fits the body after it is unpacked: the signature is of the content before compression.")
		}
	}
	if json.Valid(b) {
		for _, written := range otherJSON(b) {
			add(written.text, "It fits if the JSON "+written.how+": the body was read and written again."+changed)
		}
	}
	return trials
}

type writtenJSON struct {
	text []byte
	how  string
}

// otherJSON writes a JSON text as other libraries would.
func otherJSON(text []byte) []writtenJSON {
	var compact bytes.Buffer
	if json.Compact(&compact, text) != nil {
		return nil
	}
	var all []writtenJSON
	forms := []writtenJSON{{compact.Bytes(), "is written"}}
	if v := decode(text); v != nil {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if e.Encode(v) == nil { // keys of maps are written in order
			forms = append(forms, writtenJSON{bytes.TrimRight(b.Bytes(), "\n"), "is written with its keys sorted,"})
		}
	}
	for _, form := range forms {
		var escaped bytes.Buffer
		json.HTMLEscape(&escaped, form.text)
		for _, chars := range []writtenJSON{
			{form.text, ""},
			{ascii(form.text), ", other letters than ASCII as \\u escapes"},
			{unescape(form.text), ", without \\u escapes"},
			{bytes.ReplaceAll(form.text, []byte("/"), []byte(`\/`)), `, with \/ for /`},
			{bytes.ReplaceAll(form.text, []byte(`\/`), []byte("/")), `, with / for \/`},
			{escaped.Bytes(), ", with <, > and & as \\u escapes"},
		} {
			all = append(all,
				writtenJSON{chars.text, form.how + " without white space" + chars.how},
				writtenJSON{spaced(chars.text), form.how + " with a space after each comma and colon" + chars.how},
			)
			for _, indent := range []string{"  ", "    ", "\t"} {
				var b bytes.Buffer
				if json.Indent(&b, chars.text, "", indent) == nil {
					all = append(all, writtenJSON{b.Bytes(), form.how + " on indented lines" + chars.how})
				}
			}
		}
	}
	return all
}

// spaced puts a space after each comma and colon of a compact JSON text, as
// Python does.
func spaced(text []byte) []byte {
	out := make([]byte, 0, len(text)+len(text)/8)
	inString := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		out = append(out, c)
		switch {
		case inString && c == '\\' && i+1 < len(text):
			i++
			out = append(out, text[i])
		case c == '"':
			inString = !inString
		case !inString && (c == ',' || c == ':'):
			out = append(out, ' ')
		}
	}
	return out
}

// ascii writes all other letters of a JSON text as escapes.
func ascii(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		switch {
		case r < utf8.RuneSelf:
			out = append(out, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// unescape writes the escapes of a JSON text as letters, but for those that
// have to be escapes.
func unescape(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 >= len(text) {
			out = append(out, text[i])
			continue
		}
		if text[i+1] == 'u' && i+6 <= len(text) {
			end := i + 6
			r, err := strconv.ParseUint(string(text[i+2:end]), 16, 16)
			letter := rune(r)
			if err == nil && utf16.IsSurrogate(letter) && end+6 <= len(text) && text[end] == '\\' && text[end+1] == 'u' {
				if low, err := strconv.ParseUint(string(text[end+2:end+6]), 16, 16); err == nil {
					letter, end = utf16.DecodeRune(letter, rune(low)), end+6
				}
			}
			if err == nil && letter >= ' ' && letter != '"' && letter != '\\' && !utf16.IsSurrogate(letter) {
				out = utf8.AppendRune(out, letter)
				i = end - 1
				continue
			}
		}
		out = append(out, text[i], text[i+1])
		i++
	}
	return out
}

// otherForms are signatures made in the way of the scheme but for its
// algorithm, its encoding or what stands before.
func otherForms(s Scheme, secrets []string, m *message) []trial {
	hashes := []Algorithm{HMACSHA256, HMACSHA1, HMACSHA512}
	if !slices.Contains(hashes, s.Algorithm) || s.Each != "" {
		return nil
	}
	var trials []trial
	for _, a := range hashes {
		for _, e := range []Encoding{Hex, Base64, Base64URL} {
			for _, prefix := range []string{s.Prefix, "", "sha256=", "sha1=", "sha512="} {
				other := s
				other.Algorithm, other.Encoding, other.Prefix = a, e, prefix
				trials = append(trials, trial{secrets, m.Request, other, fmt.Sprintf("It fits as %s in %s%s: choose that in a scheme of your own.", a, e, after(prefix))})
			}
		}
	}
	if s.Timestamp != "" || s.MessageID != "" {
		other := s
		other.Timestamp, other.MessageID, other.Content = "", "", body
		trials = append(trials, trial{secrets, m.Request, other, "It fits the body alone, without the time: the sender does not follow " + s.Title + "."})
	}
	return trials
}

func after(prefix string) string {
	if prefix == "" {
		return ""
	}
	return " after " + prefix
}

// otherScheme tries the schemes of the same provider and those whose header is
// there.
func otherScheme(s Scheme, secrets []string, m *message, now time.Time) string {
	present := ""
	for _, other := range table() {
		if len(other.Any) > 0 || other.Name == s.Name || other.Algorithm == None || len(other.Header) == 0 {
			continue
		}
		if lines, _ := m.lines(other.Header); len(lines) == 0 {
			continue
		}
		if !slices.ContainsFunc(s.ways(), func(way Scheme) bool { return way.Name == other.Name }) &&
			fits(trial{secrets, m.Request, other, ""}, now) {
			return fmt.Sprintf("It is a right signature of %s: choose the scheme %q.", other.Title, other.Name)
		}
		if other.family() == s.family() && present == "" {
			present = fmt.Sprintf("The request has the header of %s: the scheme %q may be meant.", other.Title, other.Name)
		}
	}
	if present != "" {
		return present
	}
	if other, ok := Detect(m.Request); ok && other.family() != s.family() && !slices.Contains(s.Any, other.Name) {
		return fmt.Sprintf("By its headers the request seems to come from %s: the scheme %q may be meant.", other.Title, other.Name)
	}
	return ""
}

// signs tells whether the content has the field.
func (s Scheme) signs(name string) bool {
	for _, template := range s.Content {
		fields, _ := parse(template)
		if slices.ContainsFunc(fields, func(f field) bool { return f.name == name }) {
			return true
		}
	}
	return false
}

// tolerance is the longest of the ways of a scheme, as text.
func tolerance(s Scheme) string {
	var longest time.Duration
	for _, way := range s.ways() {
		longest = max(longest, way.Tolerance)
	}
	return spell(longest)
}

// spell writes a length of time as people say it.
func spell(d time.Duration) string {
	count := func(n int64, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return strconv.FormatInt(n, 10) + " " + unit + "s"
	}
	switch {
	case d < 2*time.Minute:
		return count(int64(d.Round(time.Second)/time.Second), "second")
	case d < 2*time.Hour:
		return count(int64(d.Round(time.Minute)/time.Minute), "minute")
	case d < 48*time.Hour:
		return count(int64(d.Round(time.Hour)/time.Hour), "hour")
	}
	return count(int64(d.Round(24*time.Hour)/(24*time.Hour)), "day")
}

func upper(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
