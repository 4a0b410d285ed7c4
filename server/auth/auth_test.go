package auth_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/auth"
	"github.com/relaytunnel/relay/server/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var home = netip.MustParseAddr("192.0.2.1")

// world is an Auth with a store and a clock.
type world struct {
	*auth.Auth
	store *store.Store
	now   time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	w := &world{store: s, now: time.UnixMilli(1_800_000_000_000).UTC()}
	s.Now = func() time.Time { return w.now }
	w.Auth = auth.New(auth.Options{Store: s, Now: s.Now})
	return w
}

// user makes a user with a token.
func (w *world) user(t *testing.T, name string, expires time.Time) (relay.User, relay.Token, string) {
	t.Helper()
	u, err := w.store.AddUser(t.Context(), name, false)
	if err != nil {
		t.Fatal(err)
	}
	plain, hash, prefix := auth.NewToken()
	tok, err := w.store.AddToken(t.Context(), u.ID, "laptop", hash, prefix, expires)
	if err != nil {
		t.Fatal(err)
	}
	return u, tok, plain
}

func TestNewToken(t *testing.T) {
	shape := regexp.MustCompile(`^rly_[0-9A-Za-z]{49}$`)
	seen := map[string]bool{}
	for range 200 {
		plain, hash, prefix := auth.NewToken()
		want := sha256.Sum256([]byte(plain))
		if !shape.MatchString(plain) || !bytes.Equal(hash, want[:]) || prefix != plain[:12] || !auth.WellFormed(plain) {
			t.Fatalf("NewToken = %q, %x, %q", plain, hash, prefix)
		}
		if seen[plain] {
			t.Fatal("the same token twice")
		}
		seen[plain] = true
	}
}

func TestOneWrongCharacterIsNoticed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain, _, _ := auth.NewToken()
		at := rapid.IntRange(0, len(plain)-1).Draw(t, "at")
		char := rapid.Byte().Draw(t, "char")
		wrong := []byte(plain)
		wrong[at] = char
		if auth.WellFormed(string(wrong)) != (char == plain[at]) {
			t.Fatalf("WellFormed(%q) is wrong", wrong)
		}
		if cut := rapid.IntRange(0, len(plain)-1).Draw(t, "cut"); auth.WellFormed(plain[:cut]) {
			t.Fatalf("WellFormed(%q)", plain[:cut])
		}
	})
	plain, _, _ := auth.NewToken()
	for _, s := range []string{"", "rly_", plain + "0", " " + plain, plain + "\n", strings.ToUpper(plain)} {
		if auth.WellFormed(s) {
			t.Errorf("WellFormed(%q)", s)
		}
	}
}

func TestGoodTokenFindsItsUser(t *testing.T) {
	w := newWorld(t)
	ann, tok, plain := w.user(t, "ann", time.Time{})
	w.user(t, "bob", time.Time{})
	u, got, err := w.Token(t.Context(), plain, home)
	if err != nil || u.ID != ann.ID || got.ID != tok.ID {
		t.Errorf("Token = %+v, %+v, %v", u, got, err)
	}
}

func TestAllWrongTokensGetTheSameAnswer(t *testing.T) {
	w := newWorld(t)
	_, tok, deleted := w.user(t, "ann", time.Time{})
	if err := w.store.DeleteToken(t.Context(), tok.ID); err != nil {
		t.Fatal(err)
	}
	unknown, _, _ := auth.NewToken()
	var says []string
	for i, plain := range []string{"", "hello", unknown, deleted, unknown[:20], unknown + "x", strings.Repeat("x", 1<<20), "rly_\x00\x1b", deleted + deleted} {
		u, tok, err := w.Token(t.Context(), plain, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
		if !errors.Is(err, relay.ErrDenied) || u.ID != "" || tok.ID != "" {
			t.Fatalf("Token(%.20q) = %+v, %+v, %v", plain, u, tok, err)
		}
		says = append(says, err.Error())
	}
	if one := slices.Compact(says); len(one) != 1 {
		t.Errorf("answers differ: %q", one)
	}
}

// A token in the store that NewToken has not made is refused as well.
func TestStoredButMalformedTokenIsRefused(t *testing.T) {
	w := newWorld(t)
	ann, _, _ := w.user(t, "ann", time.Time{})
	if _, err := w.store.AddToken(t.Context(), ann.ID, "weak", auth.Hash("secret"), "secret", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Token(t.Context(), "secret", home); !errors.Is(err, relay.ErrDenied) {
		t.Errorf("Token = %v", err)
	}
}

func TestExpiredTokenSaysSo(t *testing.T) {
	w := newWorld(t)
	_, _, plain := w.user(t, "ann", w.now.Add(time.Hour))
	if _, _, err := w.Token(t.Context(), plain, home); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Hour)
	if _, _, err := w.Token(t.Context(), plain, home); !errors.Is(err, relay.ErrDenied) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("Token = %v", err)
	}
}

func TestElevenBadTriesInAMinuteAreTooMany(t *testing.T) {
	w := newWorld(t)
	ann, _, good := w.user(t, "ann", time.Time{})
	bad, _, _ := auth.NewToken()
	try := func(from string) error {
		_, _, err := w.Token(t.Context(), bad, netip.MustParseAddr(from))
		return err
	}
	exhaust := func(from string) {
		t.Helper()
		for i := range 10 {
			if err := try(from); !errors.Is(err, relay.ErrDenied) {
				t.Fatalf("try %d: %v", i, err)
			}
		}
	}

	exhaust("192.0.2.1")
	for _, same := range []string{"192.0.2.1", "::ffff:192.0.2.1"} {
		if err := try(same); !errors.Is(err, relay.ErrLimit) {
			t.Errorf("try 11 from %s: %v", same, err)
		}
	}
	if err := try("192.0.2.2"); !errors.Is(err, relay.ErrDenied) {
		t.Errorf("a neighbour: %v", err)
	}
	if u, _, err := w.Token(t.Context(), good, home); err != nil || u.ID != ann.ID {
		t.Errorf("a good token from there: %v", err)
	}

	exhaust("2001:db8::1")
	if err := try("2001:db8::ffff:1"); !errors.Is(err, relay.ErrLimit) {
		t.Errorf("another address of the same /64: %v", err)
	}
	if err := try("2001:db8:0:1::1"); !errors.Is(err, relay.ErrDenied) {
		t.Errorf("another /64: %v", err)
	}

	w.now = w.now.Add(time.Minute)
	exhaust("192.0.2.1")
}

func TestUseIsRememberedOnceAMinute(t *testing.T) {
	w := newWorld(t)
	_, tok, plain := w.user(t, "ann", time.Time{})
	start := w.now
	for _, step := range []struct{ at, want time.Duration }{
		{0, 0}, {time.Second, 0}, {59 * time.Second, 0}, {time.Minute, time.Minute}, {90 * time.Second, time.Minute}, {3 * time.Minute, 3 * time.Minute},
	} {
		w.now = start.Add(step.at)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, _, err := w.Token(t.Context(), plain, home); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		tokens, err := w.store.Tokens(t.Context(), tok.UserID)
		if err != nil || !tokens[0].LastUsed.Equal(start.Add(step.want)) {
			t.Errorf("after %v: last used %v, %v", step.at, tokens[0].LastUsed.Sub(start), err)
		}
	}
}

func TestFirstUser(t *testing.T) {
	w := newWorld(t)
	u, plain, created, err := w.FirstUser(t.Context(), "ann")
	if err != nil || !created || !u.Admin || u.Name != "ann" {
		t.Fatalf("FirstUser = %+v, %v, %v", u, created, err)
	}
	got, tok, err := w.Token(t.Context(), plain, home)
	if err != nil || got.ID != u.ID || tok.Name != "first" || !tok.Expires.IsZero() {
		t.Errorf("Token = %+v, %+v, %v", got, tok, err)
	}
	u, plain, created, err = w.FirstUser(t.Context(), "bob")
	if err != nil || created || plain != "" || u.ID != "" {
		t.Errorf("second FirstUser = %+v, %q, %v, %v", u, plain, created, err)
	}
}

func TestStoreThatFailsIsNotADenial(t *testing.T) {
	w := newWorld(t)
	w.store.Close()
	_, _, err := w.Token(t.Context(), "x", home)
	if err == nil || errors.Is(err, relay.ErrDenied) || errors.Is(err, relay.ErrLimit) {
		t.Errorf("Token = %v", err)
	}
}

func TestUserPassesWhenUseCannotBeRemembered(t *testing.T) {
	w := newWorld(t)
	ann, _, plain := w.user(t, "ann", time.Time{})
	var log bytes.Buffer
	// The touch comes after the look-up: its context ends in between.
	ctx, cancel := context.WithCancel(t.Context())
	a := auth.New(auth.Options{Store: w.store, Now: func() time.Time { cancel(); return w.now }, Log: slog.New(slog.NewTextHandler(&log, nil))})
	u, _, err := a.Token(ctx, plain, home)
	if err != nil || u.ID != ann.ID {
		t.Errorf("Token = %+v, %v", u, err)
	}
	if !strings.Contains(log.String(), "time of last use") || strings.Contains(log.String(), plain) {
		t.Errorf("log: %s", log.String())
	}
}

// The medians of a malformed and of an unknown token differ by less than they
// would if one of them skipped the database.
func TestMalformedTakesAsLongAsUnknown(t *testing.T) {
	if testing.Short() {
		t.Skip("measures time")
	}
	w := newWorld(t)
	unknown, _, _ := auth.NewToken()
	medians := map[string]time.Duration{}
	spent := map[string][]time.Duration{}
	for range 300 {
		for _, plain := range []string{unknown, "malformed"} {
			start := time.Now()
			w.Token(t.Context(), plain, home)
			spent[plain] = append(spent[plain], time.Since(start))
		}
	}
	for plain, s := range spent {
		slices.Sort(s)
		medians[plain] = s[len(s)/2]
	}
	t.Log(fmt.Sprint(medians))
	if a, b := medians[unknown], medians["malformed"]; a > 3*b || b > 3*a {
		t.Errorf("medians are %v and %v", a, b)
	}
}
