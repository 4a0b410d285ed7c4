package policy

import (
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// parseRate reads a rate like "10/s". burst 0 is the default: see relay.Door.
func parseRate(s string, burst int) (*rate.Limiter, error) {
	if burst < 0 || burst > 0 && s == "" {
		return nil, invalid("burst %d: give a number with a rate", burst)
	}
	if s == "" {
		return nil, nil //nolint:nilnil // no limit
	}
	number, unit, _ := strings.Cut(s, "/")
	per, ok := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	n, err := strconv.Atoi(number)
	if err != nil || !ok || n < 1 || n > 1_000_000_000 {
		return nil, invalid("rate %q: write a number of requests and a time, like 10/s or 600/m", s)
	}
	perSecond := float64(n) / per
	if burst == 0 {
		burst = max(int(math.Ceil(perSecond)), min(n, 10))
	}
	return rate.NewLimiter(rate.Limit(perSecond), burst), nil
}

// wait is how long a request has come too early; 0 if it may pass, and then it is
// counted.
func (p *Policy) wait(now time.Time) time.Duration {
	if p.limiter == nil {
		return 0
	}
	turn := p.limiter.ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	if wait > 0 {
		turn.CancelAt(now)
	}
	return wait
}
