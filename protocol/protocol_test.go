package protocol_test

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/protocol"
)

func TestHelloAndWelcomeCrossAHeaderUnchanged(t *testing.T) {
	hello := protocol.Hello{
		Agent: "agt_1", Software: "relay 1.0", Hostname: "läptop", Resume: "s3cret",
		Binds: []protocol.Bind{
			{ID: 1, Kind: protocol.KindHTTP, Name: "api", Hint: "http:8080", Takeover: true, HostHeader: "app.local"},
			{ID: 4294967295, Kind: "something new"},
		},
	}
	welcome := protocol.Welcome{
		Session: "ses_1", User: "alice", Resume: "r", Join: "j",
		Tunnels: []protocol.Bound{{ID: 1, Name: "api-alice", URL: "https://api-alice.example.com"}},
	}
	for _, tt := range []struct{ in, out any }{
		{&hello, &protocol.Hello{}},
		{&protocol.Hello{Agent: "a", Join: &protocol.Join{Session: "s", Secret: "x"}}, &protocol.Hello{}},
		{&welcome, &protocol.Welcome{}},
		{&protocol.Hello{}, &protocol.Hello{}},
	} {
		s, err := protocol.Encode(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(s, " \r\n=+/") {
			t.Errorf("%q cannot stand in a header as it is", s)
		}
		if err := protocol.Decode(s, tt.out); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(tt.in, tt.out) {
			t.Errorf("sent %+v, received %+v", tt.in, tt.out)
		}
	}
}

func TestDecodeRefusesWhatIsNotAHello(t *testing.T) {
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", "missing"},
		{"standard alphabet", "+/+/", "not base64url"},
		{"padded", "e30=", "not base64url"},
		{"cut", b64(`{"agent":"a"`), "not JSON"},
		{"not an object", b64(`["a"]`), "not JSON"},
		{"wrong type", b64(`{"agent":1}`), "not JSON"},
		{"id too large", b64(`{"binds":[{"id":4294967296}]}`), "not JSON"},
		{"negative id", b64(`{"binds":[{"id":-1}]}`), "not JSON"},
		{"two values", b64(`{}{}`), "not JSON"},
		{"too long", strings.Repeat("A", protocol.MaxHello+1), "are allowed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := protocol.Decode(tt.in, &protocol.Hello{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestDecodeIgnoresFieldsOfLaterVersions(t *testing.T) {
	in := base64.RawURLEncoding.EncodeToString([]byte(`{"agent":"a","colour":{"deep":[1]},"binds":[{"id":1,"kind":"http","x":null}]}`))
	var h protocol.Hello
	if err := protocol.Decode(in, &h); err != nil {
		t.Fatal(err)
	}
	if h.Agent != "a" || len(h.Binds) != 1 || h.Binds[0].ID != 1 {
		t.Errorf("read %+v", h)
	}
}

// An agent may have as many tunnels as the protocol allows, with long names: what
// the server answers must be readable for it.
func TestWelcomeWithAllTunnelsCanBeRead(t *testing.T) {
	w := protocol.Welcome{Session: "ses_0123456789abcdef", User: strings.Repeat("u", 30), Resume: strings.Repeat("r", 43), Join: strings.Repeat("j", 43)}
	for i := range protocol.MaxBinds {
		name := fmt.Sprintf("%063d", i)
		w.Tunnels = append(w.Tunnels, protocol.Bound{
			ID: 4294967295 - uint32(i), Name: name,
			URL: "https://" + name + "." + strings.Repeat(strings.Repeat("d", 62)+".", 3) + "x:65535",
		})
	}
	s, err := protocol.Encode(w)
	if err != nil {
		t.Fatal(err)
	}
	var got protocol.Welcome
	if err := protocol.Decode(s, &got); err != nil {
		t.Fatalf("a welcome of %d bytes: %v", len(s), err)
	}
	if len(got.Tunnels) != protocol.MaxBinds {
		t.Errorf("read %d tunnels", len(got.Tunnels))
	}
}

func TestControlMessagesKeepTheirContent(t *testing.T) {
	for _, m := range []protocol.Message{
		{Bind: &protocol.Bind{ID: 7, Kind: protocol.KindHTTP, Name: "x"}},
		{Bound: &protocol.Bound{ID: 7, Name: "x", URL: "http://x.localhost"}},
		{Unbind: &protocol.Unbind{ID: 7, Reason: "enough"}},
		{Drain: &protocol.Drain{Reason: "the server stops", RetryIn: 500}},
		{Error: &protocol.Error{Code: protocol.CodeTaken, Message: "taken", Bind: 7, RetryIn: 1}},
		{},
	} {
		b, err := protocol.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := protocol.Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(m, got) {
			t.Errorf("sent %s, received %+v", b, got)
		}
	}
}

func TestControlMessagesOfLaterKindsAreEmpty(t *testing.T) {
	m, err := protocol.Unmarshal([]byte(`{"teleport":{"to":"mars"}}`))
	if err != nil || m != (protocol.Message{}) {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestControlMessagesHaveALimitOnBothSides(t *testing.T) {
	fits := protocol.Message{Error: &protocol.Error{Code: protocol.CodeInternal}}
	b, err := protocol.Marshal(fits)
	if err != nil {
		t.Fatal(err)
	}
	fits.Error.Message = strings.Repeat("x", protocol.MaxMessage-len(b))
	if b, err = protocol.Marshal(fits); err != nil || len(b) != protocol.MaxMessage {
		t.Fatalf("%d bytes: %v", len(b), err)
	}
	if _, err := protocol.Unmarshal(b); err != nil {
		t.Errorf("a message of the greatest length is refused: %v", err)
	}
	fits.Error.Message += "x"
	if _, err := protocol.Marshal(fits); err == nil {
		t.Error("a message over the limit can be sent")
	}
	if _, err := protocol.Unmarshal([]byte(`{"error":{"message":"` + strings.Repeat("x", protocol.MaxMessage) + `"}}`)); err == nil {
		t.Error("a message over the limit is read")
	}
}

func TestUnmarshalRefusesWhatIsNotAMessage(t *testing.T) {
	for _, in := range []string{"", "x", "[]", `"bind"`, `{"bind":`, `{"bind":[]}`, `{"bind":{"id":"1"}}`, `{}{}`} {
		if m, err := protocol.Unmarshal([]byte(in)); err == nil {
			t.Errorf("%q was read as %+v", in, m)
		}
	}
}

func TestErrorsSayWhetherTryingAgainHelps(t *testing.T) {
	again := map[protocol.Code]bool{
		protocol.CodeBadRequest: false, protocol.CodeAuth: false, protocol.CodeDenied: false, protocol.CodeTaken: false,
		protocol.CodeVersion: false, protocol.CodeReplaced: false, protocol.CodeRevoked: false, protocol.CodeProtocol: false,
		protocol.CodeLimit: true, protocol.CodeInternal: true,
		"a code of a later version": true,
	}
	for code, want := range again {
		e := &protocol.Error{Code: code, Message: "m"}
		if e.Retry() != want || e.Error() != "m" {
			t.Errorf("%s: Retry is %v, Error is %q", code, e.Retry(), e.Error())
		}
	}
}

// FuzzUnmarshal: a control message of a stranger never panics, and what could be
// read can be sent on.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"bind":{"id":1,"kind":"http","name":"x"}}`))
	f.Add([]byte(`{"error":{"code":"limit","message":"x","retry_in_ms":9223372036854775807}}`))
	f.Add([]byte(`{"bind":null,"drain":{}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := protocol.Unmarshal(in)
		if err != nil {
			return
		}
		out, err := protocol.Marshal(m)
		if err != nil {
			return // escaped, it may be longer than the limit
		}
		again, err := protocol.Unmarshal(out)
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%q became %q: %v", in, out, err)
		}
	})
}

// FuzzDecode: a Hello of a stranger never panics.
func FuzzDecode(f *testing.F) {
	s, _ := protocol.Encode(protocol.Hello{Agent: "a", Binds: []protocol.Bind{{ID: 1}}})
	f.Add(s)
	f.Add("e30")
	f.Fuzz(func(t *testing.T, in string) {
		var h protocol.Hello
		if protocol.Decode(in, &h) == nil && len(in) > protocol.MaxHello {
			t.Errorf("%d bytes were read", len(in))
		}
	})
}
