package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/internal/relay"
)

func TestDomains(t *testing.T) {
	ctx, s := t.Context(), open(t, t.TempDir())
	now := time.UnixMilli(1_800_000_000_000).UTC()
	s.Now = func() time.Time { return now }
	ann, bob := addUser(t, s, "ann"), addUser(t, s, "bob")

	d, err := s.AddDomain(ctx, ann.ID, "hooks.acme.com", "api", 2)
	if err != nil {
		t.Fatal(err)
	}
	want := relay.Domain{Host: "hooks.acme.com", UserID: ann.ID, Name: "api", State: relay.DomainPending, Created: now, Since: now}
	if diff := cmp.Diff(want, d); diff != "" || d.Held() {
		t.Error(diff)
	}
	now = now.Add(time.Second)
	other, err := s.AddDomain(ctx, bob.ID, "hooks.acme.com", "bob", 2)
	if err != nil {
		t.Fatalf("another user, while it is pending: %v", err)
	}
	if all, err := s.AllDomains(ctx); err != nil || len(all) != 2 || all[0] != d || all[1] != other {
		t.Errorf("all: %+v, %v", all, err)
	}

	d.State, d.Since, d.Checked, d.Reason = relay.DomainActive, now.Add(time.Hour), now.Add(2*time.Hour), "because"
	if err := s.SetDomain(ctx, d, relay.DomainPending); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Domain(ctx, ann.ID, "hooks.acme.com"); err != nil || got != d || !got.Held() {
		t.Errorf("Domain = %+v, %v; want %+v", got, err, d)
	}
	wantKind(t, "from a state that it has left", s.SetDomain(ctx, d, relay.DomainPending), relay.ErrNotFound)
	other.State = relay.DomainActive
	wantKind(t, "the second to be active", s.SetDomain(ctx, other, relay.DomainPending), relay.ErrTaken)
	d.State = relay.DomainFailing
	if err := s.SetDomain(ctx, d, relay.DomainActive); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "while it is failing", s.SetDomain(ctx, other, relay.DomainPending), relay.ErrTaken)
	if all, err := s.AllDomains(ctx); err != nil || len(all) != 2 || all[0] != d {
		t.Errorf("all: %+v, %v", all, err)
	}

	// Adding again changes where it leads and nothing else.
	d.Name = "shop"
	if again, err := s.AddDomain(ctx, ann.ID, "hooks.acme.com", "shop", 1); err != nil || again != d {
		t.Errorf("added again: %+v, %v; want %+v", again, err, d)
	}
	if _, err := s.AddDomain(ctx, ann.ID, "acme.com", "api", 2); err != nil {
		t.Fatal(err)
	}
	_, err = s.AddDomain(ctx, ann.ID, "more.acme.com", "api", 2)
	wantKind(t, "one too many", err, relay.ErrLimit)
	_, err = s.AddDomain(ctx, "usr_x", "more.acme.com", "api", 2)
	wantKind(t, "unknown user", err, relay.ErrNotFound)
	wantKind(t, "remove what is not there", s.RemoveDomain(ctx, bob.ID, "acme.com"), relay.ErrNotFound)
	if err := s.RemoveDomain(ctx, bob.ID, "hooks.acme.com"); err != nil {
		t.Error(err)
	}
	_, err = s.AddDomain(ctx, bob.ID, "hooks.acme.com", "bob", 2)
	wantKind(t, "held by another", err, relay.ErrTaken)

	all, err := s.Domains(ctx, ann.ID)
	if err != nil || len(all) != 2 || all[0].Host != "acme.com" || all[1] != d {
		t.Errorf("Domains = %+v, %v", all, err)
	}
	_, err = s.Domain(ctx, bob.ID, "hooks.acme.com")
	wantKind(t, "of another user", err, relay.ErrNotFound)
}

// Of many who prove one host at the same time, one gets it.
func TestOneUserHoldsADomain(t *testing.T) {
	ctx, s := t.Context(), open(t, t.TempDir())
	var wg sync.WaitGroup
	var mu sync.Mutex
	won, lost := 0, 0
	var all []relay.Domain
	for i := range 10 {
		u := addUser(t, s, fmt.Sprintf("user%d", i))
		d, err := s.AddDomain(ctx, u.ID, "hooks.acme.com", "api", 1)
		if err != nil {
			t.Fatal(err)
		}
		d.State = relay.DomainActive
		all = append(all, d)
	}
	for _, d := range all {
		wg.Go(func() {
			err := s.SetDomain(ctx, d, relay.DomainPending)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case errors.Is(err, relay.ErrTaken):
				lost++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 || lost != 9 {
		t.Errorf("%d won and %d lost", won, lost)
	}
}

func TestDomainTokens(t *testing.T) {
	dir := t.TempDir()
	token := func(user, host string) string {
		s := open(t, dir)
		defer s.Close()
		tok, err := s.DomainToken(user, host)
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	first := token("usr_a", "acme.com")
	if len(first) != 32 || token("usr_a", "acme.com") != first {
		t.Errorf("%s, then %s", first, token("usr_a", "acme.com"))
	}
	if token("usr_b", "acme.com") == first || token("usr_a", "b.acme.com") == first {
		t.Error("different users or hosts have one token")
	}
	dir = t.TempDir()
	if token("usr_a", "acme.com") == first {
		t.Error("another server has the same token")
	}
}
