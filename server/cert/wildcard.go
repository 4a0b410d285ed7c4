package cert

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// A proof is one TXT record that the authority wants to see.
type proof struct {
	challenge     *acme.Challenge
	authorization string // its URL
	fqdn, value   string
	domain, key   string // what the record is made of; lego's providers want these
}

// orderWildcard orders a certificate for Domain and all names below it, by
// DNS-01, and keeps it. autocert does not know how.
func (k *Keeper) orderWildcard(ctx context.Context, client *acme.Client) (_ *tls.Certificate, err error) {
	account := &acme.Account{ExternalAccountBinding: k.binding}
	if k.o.Email != "" {
		account.Contact = []string{"mailto:" + k.o.Email}
	}
	if _, err := client.Register(ctx, account, autocert.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return nil, err
	}
	names := []string{k.o.Domain, k.wildcard}
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(names...))
	if err != nil {
		return nil, err
	}
	if err := k.prove(ctx, client, order.AuthzURLs); err != nil {
		return nil, err
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	if err != nil {
		return nil, err
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, request, true)
	if err != nil {
		return nil, err
	}
	return k.cache.save(ctx, k.wildcard, key, chain)
}

// prove shows all records at the same time, so that no cache of a resolver hides
// one behind the other, and takes them away again.
func (k *Keeper) prove(ctx context.Context, client *acme.Client, authorizations []string) (err error) {
	var proofs []proof
	for _, url := range authorizations {
		p, err := k.proof(ctx, client, url)
		if err != nil {
			return err
		}
		if p.challenge != nil {
			proofs = append(proofs, p)
		}
	}
	var shown []proof
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
		defer cancel()
		for _, p := range shown {
			if gone := k.hide(ctx, p); gone != nil { // it does no harm
				k.o.Log.Warn("a DNS record for the certificate authority is left behind", "name", p.fqdn, "err", gone)
			}
		}
	}()
	for _, p := range proofs {
		shown = append(shown, p) // what failed may be there nevertheless
		if err := k.show(ctx, p); err != nil {
			return fmt.Errorf("set the TXT record %s: %w", p.fqdn, err)
		}
	}
	if err := k.seen(ctx, proofs); err != nil {
		return err
	}
	for _, p := range proofs {
		if _, err := client.Accept(ctx, p.challenge); err != nil {
			return err
		}
	}
	for _, p := range proofs {
		if _, err := client.WaitAuthorization(ctx, p.authorization); err != nil {
			return err
		}
	}
	return nil
}

// proof returns what the authority wants to see; without a challenge, nothing.
func (k *Keeper) proof(ctx context.Context, client *acme.Client, url string) (proof, error) {
	a, err := client.GetAuthorization(ctx, url)
	if err != nil || a.Status != acme.StatusPending {
		return proof{}, err
	}
	for _, c := range a.Challenges {
		if c.Type != "dns-01" {
			continue
		}
		value, err := client.DNS01ChallengeRecord(c.Token)
		if err != nil {
			return proof{}, err
		}
		thumb, err := acme.JWKThumbprint(client.Key.Public())
		if err != nil {
			return proof{}, err
		}
		domain := a.Identifier.Value
		return proof{c, url, "_acme-challenge." + domain + ".", value, domain, c.Token + "." + thumb}, nil
	}
	return proof{}, fmt.Errorf("the certificate authority does not offer DNS-01 for %s", a.Identifier.Value)
}
