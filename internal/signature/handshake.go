package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// Answer is what a sender wants to hear when it tries an address.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Secret is what the sender told to be the secret from now on, as Asana
	// and Notion do. Anybody can send such a request: keep it only if the
	// endpoint has none yet and its owner waits for it.
	Secret string
}

// maxChallenge bounds what is sent back to a stranger. Real ones are shorter.
const maxChallenge = 2048

// Handshake returns the answer if the request is the one with which the sender
// tries an address, and false for any other request. The secrets are those of
// Verify, but for a scheme with Token the token that was chosen for the
// handshake. A try that has to be signed and is not right gets the refusal
// that the sender expects.
func Handshake(s Scheme, secrets []string, r Request, now time.Time) (Answer, bool) {
	answer, ok := handshakes[s.Handshake]
	if !ok {
		return Answer{}, false
	}
	return answer(s, secrets, &message{Request: r}, now)
}

type handshake func(s Scheme, secrets []string, m *message, now time.Time) (Answer, bool)

var handshakes = map[string]handshake{
	"slack":       slackChallenge,
	"hub":         hubChallenge,
	"strava":      hubChallenge,
	"x":           xChallenge,
	"zoom":        zoomChallenge,
	"graph":       graphChallenge,
	"challenge":   queryChallenge,
	"discord":     discordPing,
	"okta":        oktaChallenge,
	"twitch":      twitchChallenge,
	"asana":       asanaSecret,
	"notion":      notionSecret,
	"xero":        xeroIntent,
	"cloudevents": cloudEventsConsent,
	"head":        headProbe,
}

// plain is an answer in plain text. What a stranger sent must not become a
// page, so its kind is not left to be guessed.
func plain(text string) (Answer, bool) {
	if text == "" || len(text) > maxChallenge {
		return Answer{}, false
	}
	return Answer{
		Status: http.StatusOK,
		Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}},
		Body:   []byte(text),
	}, true
}

func inJSON(v any) (Answer, bool) {
	text, err := json.Marshal(v)
	if err != nil || len(text) > 4*maxChallenge {
		return Answer{}, false
	}
	return Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: text}, true
}

func status(code int) (Answer, bool) { return Answer{Status: code, Header: http.Header{}}, true }

// text is the one text at the path of the JSON body.
func (m *message) text(path string) string {
	text, _ := m.one(Source("body:" + path))
	return text
}

// harmless tells whether a challenge that the secret is to sign cannot be the
// content of anything else that it signs. Without that, whoever asks gets a
// signature for a body of their own.
func harmless(challenge string) bool {
	return challenge != "" && len(challenge) <= 256 && strings.Trim(challenge,
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-") == ""
}

// Slack sends this before it has to be signed with the app's secret, and the
// answer says no more than the question.
func slackChallenge(_ Scheme, _ []string, m *message, _ time.Time) (Answer, bool) {
	if m.Method != http.MethodPost || m.text("type") != "url_verification" {
		return Answer{}, false
	}
	return plain(m.text("challenge"))
}

// Meta and others of WebSub's descent: the token that the user chose has to be
// there. Strava wants the same in JSON.
func hubChallenge(s Scheme, secrets []string, m *message, _ time.Time) (Answer, bool) {
	q := query(m.URL)
	if m.Method != http.MethodGet || q.Get("hub.mode") != "subscribe" || q.Get("hub.challenge") == "" {
		return Answer{}, false
	}
	token := q.Get("hub.verify_token")
	if token == "" || !oneOf(secrets, token) {
		return status(http.StatusForbidden)
	}
	if s.Handshake == "strava" {
		return inJSON(map[string]string{"hub.challenge": q.Get("hub.challenge")})
	}
	return plain(q.Get("hub.challenge"))
}

func xChallenge(_ Scheme, secrets []string, m *message, _ time.Time) (Answer, bool) {
	token := query(m.URL).Get("crc_token")
	if m.Method != http.MethodGet || len(secrets) == 0 || secrets[0] == "" || !harmless(token) {
		return Answer{}, false
	}
	return inJSON(map[string]string{"response_token": "sha256=" + base64.StdEncoding.EncodeToString(sign256(secrets[0], token))})
}

// Zoom signs its question, so that nobody else gets an answer.
func zoomChallenge(s Scheme, secrets []string, m *message, now time.Time) (Answer, bool) {
	if m.Method != http.MethodPost || m.text("event") != "endpoint.url_validation" {
		return Answer{}, false
	}
	token := m.text("payload.plainToken")
	if !harmless(token) {
		return Answer{}, false
	}
	for _, secret := range secrets {
		if secret != "" && m.verify(s, []string{secret}, now) == nil {
			return inJSON(map[string]string{"plainToken": token, "encryptedToken": hex.EncodeToString(sign256(secret, token))})
		}
	}
	return status(http.StatusUnauthorized)
}

func sign256(secret, text string) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(text))
	return h.Sum(nil)
}

func graphChallenge(_ Scheme, _ []string, m *message, _ time.Time) (Answer, bool) {
	if m.Method != http.MethodPost {
		return Answer{}, false
	}
	return plain(query(m.URL).Get("validationToken"))
}

func queryChallenge(_ Scheme, _ []string, m *message, _ time.Time) (Answer, bool) {
	if m.Method != http.MethodGet {
		return Answer{}, false
	}
	return plain(query(m.URL).Get("challenge"))
}

// Discord also sends pings that are signed wrong and wants them refused. An
// event's ping, which has type 0, gets an empty answer.
func discordPing(s Scheme, secrets []string, m *message, now time.Time) (Answer, bool) {
	kind := m.text("type")
	event := kind == "0" && m.text("application_id") != "" && m.text("event.type") == ""
	if m.Method != http.MethodPost || kind != "1" && !event || kind == "1" && m.text("event.type") != "" {
		return Answer{}, false
	}
	if m.verify(s, secrets, now) != nil {
		return status(http.StatusUnauthorized)
	}
	if event {
		return status(http.StatusNoContent)
	}
	return inJSON(map[string]int{"type": 1})
}

func oktaChallenge(_ Scheme, _ []string, m *message, _ time.Time) (Answer, bool) {
	challenge := m.Header.Get("X-Okta-Verification-Challenge")
	if m.Method != http.MethodGet || challenge == "" {
		return Answer{}, false
	}
	return inJSON(map[string]string{"verification": challenge})
}

func twitchChallenge(s Scheme, secrets []string, m *message, now time.Time) (Answer, bool) {
	if m.Method != http.MethodPost || m.Header.Get("Twitch-Eventsub-Message-Type") != "webhook_callback_verification" {
		return Answer{}, false
	}
	if m.verify(s, secrets, now) != nil {
		return status(http.StatusForbidden)
	}
	return plain(m.text("challenge"))
}

func asanaSecret(_ Scheme, _ []string, m *message, _ time.Time) (Answer, bool) {
	secret := m.Header.Get("X-Hook-Secret")
	if m.Method != http.MethodPost || secret == "" || len(secret) > maxChallenge {
		return Answer{}, false
	}
	return Answer{Status: http.StatusOK, Header: http.Header{"X-Hook-Secret": {secret}}, Secret: secret}, true
}

// Notion only tells its token; a person has to copy it back.
func notionSecret(_ Scheme, _ []string, m *message, _ time.Time) (Answer, bool) {
	secret := m.text("verification_token")
	if m.Method != http.MethodPost || secret == "" || len(secret) > maxChallenge || m.text("type") != "" {
		return Answer{}, false
	}
	return Answer{Status: http.StatusOK, Header: http.Header{}, Secret: secret}, true
}

// Xero sends a request without events, some signed wrong, to see whether both
// kinds are told apart.
func xeroIntent(s Scheme, secrets []string, m *message, now time.Time) (Answer, bool) {
	events := walk(m.body(), "events")
	if m.Method != http.MethodPost || len(events) != 1 {
		return Answer{}, false
	}
	if list, ok := events[0].([]any); !ok || len(list) > 0 {
		return Answer{}, false
	}
	if m.verify(s, secrets, now) != nil {
		return status(http.StatusUnauthorized)
	}
	return status(http.StatusOK)
}

// CloudEvents asks by OPTIONS whether it may send. The callback that it also
// offers is not called: nothing goes out from here.
func cloudEventsConsent(_ Scheme, _ []string, m *message, _ time.Time) (Answer, bool) {
	origin := m.Header.Get("WebHook-Request-Origin")
	if m.Method != http.MethodOptions || origin == "" || len(origin) > maxChallenge {
		return Answer{}, false
	}
	h := http.Header{"Allow": {"POST, OPTIONS"}}
	h.Set("WebHook-Allowed-Origin", origin)
	if m.Header.Get("WebHook-Request-Rate") != "" {
		h.Set("WebHook-Allowed-Rate", "*")
	}
	return Answer{Status: http.StatusOK, Header: h}, true
}

// headProbe is for those who only look whether somebody is there.
func headProbe(_ Scheme, _ []string, m *message, _ time.Time) (Answer, bool) {
	if m.Method != http.MethodHead && m.Method != http.MethodGet {
		return Answer{}, false
	}
	return status(http.StatusOK)
}
