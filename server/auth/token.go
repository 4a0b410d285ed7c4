package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"math/big"
	"strings"
)

// A token reads rly_<43 characters><6 characters>: 32 random bytes and the
// CRC-32 of all before it, both in base 62, padded with zeros. The beginning
// and the sum let secret scanners find leaked tokens without asking us.
const (
	tokenStart  = "rly_"
	secretBytes = 32
	secretChars = 43 // 62^43 is just above 2^256
	sumChars    = 6  // 62^6 is above 2^32
	tokenChars  = len(tokenStart) + secretChars + sumChars
	prefixChars = 12 // shown to people: 8 random characters
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewToken makes a secret. plain goes to its owner and is kept nowhere, hash
// is what the store keeps, and prefix is shown in lists to tell tokens apart.
func NewToken() (plain string, hash []byte, prefix string) {
	var secret [secretBytes]byte
	rand.Read(secret[:]) // never fails
	body := tokenStart + encode62(new(big.Int).SetBytes(secret[:]), secretChars)
	plain = body + sum(body)
	return plain, Hash(plain), plain[:prefixChars]
}

// Hash returns the SHA-256 of a token. That is enough: the token is 256 random
// bits and cannot be guessed from a fast hash, as a password could.
func Hash(plain string) []byte {
	h := sha256.Sum256([]byte(plain))
	return h[:]
}

// WellFormed reports whether plain has the shape and the sum of a token: it
// tells a truncated or mistyped token from a wrong one without asking anyone.
func WellFormed(plain string) bool {
	if len(plain) != tokenChars || !strings.HasPrefix(plain, tokenStart) {
		return false
	}
	for i := len(tokenStart); i < len(plain); i++ {
		if strings.IndexByte(base62, plain[i]) < 0 {
			return false
		}
	}
	body := plain[:tokenChars-sumChars]
	return plain[tokenChars-sumChars:] == sum(body)
}

func sum(body string) string {
	return encode62(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(body)))), sumChars)
}

// encode62 writes n in base 62 with exactly width digits.
func encode62(n *big.Int, width int) string {
	digits := make([]byte, width)
	base, digit := big.NewInt(62), new(big.Int)
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		digits[i] = base62[digit.Int64()]
	}
	return string(digits)
}
