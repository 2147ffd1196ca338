package rediskv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
)

const (
	// gatherPart of the TTL, and maxGather at most, is how long a request waits for others: for those before it to
	// be answered, and a renewal for those of the same rhythm to come. It is a sixth of the time that an election gives an
	// attempt, because an answer that never comes must not hold up the next one.
	gatherPart = 60
	maxGather  = 100 * time.Millisecond

	// soonPart of the TTL is how soon after a renewal the next one is none of the rhythm's, but a caller's who wants
	// to know now, and waits for nobody.
	soonPart = 5

	// nearPart of the TTL is how much sooner than it was sent a win may count, to be in a rhythm from the start.
	nearPart = 10

	// together is how many terms one script renews, so that it does not keep the server from others for long: about a
	// millisecond.
	together = 200

	// maxPipeline is how many scripts go out in one round trip.
	maxPipeline = 1000
)

// gather is how long a request waits for others.
func (b *Backend) gather() time.Duration { return min(b.ttl/gatherPart, maxGather) }

// renewal is one lease's part in a batch. What follows done may be read when that is closed.
type renewal struct {
	l    *Lease
	done chan struct{}
	ours bool
	sent backend.Instant
	err  error
}

// batch is renewals that go out together.
type batch struct {
	renewals []*renewal
	rhythm   backend.Instant // what the first one's grant counted from
	missing  int             // how many of that rhythm are still to come
	full     chan struct{}   // closed when none is
	done     chan struct{}
}

// join adds l to the batch that is about to be sent, making one if there is none. Who leaves it costs the
// others nothing.
func (b *Backend) join(ctx context.Context, l *Lease) *renewal {
	r := &renewal{l: l, done: make(chan struct{})}
	b.mu.Lock()
	g, before := b.gathering, b.air
	first := g == nil
	if first {
		g = &batch{rhythm: l.c.grant.Sent, full: make(chan struct{}), done: make(chan struct{})}
		g.missing = b.company(l.c)
		b.gathering = g
	}
	g.renewals = append(g.renewals, r)
	if l.c.grant.Sent == g.rhythm {
		g.missing--
		if g.missing == 0 {
			close(g.full)
		}
	}
	b.mu.Unlock()
	if first {
		ctx = context.WithoutCancel(ctx)
		b.spawn(func() { b.send(ctx, g, before) })
	}
	return r
}

// company is how many renewals are to be expected together with that of c, itself among them: those of all terms whose
// grants count from the same moment, since an election renews in a fixed time after that. b.mu must be held.
func (b *Backend) company(c *candidacy) (n int) {
	if backend.Now().Since(c.grant.Sent) < b.ttl/soonPart {
		return 1
	}
	for _, other := range b.standing {
		if other.leads && other.grant.Sent == c.grant.Sent {
			n++
		}
	}
	return n
}

// inRhythm is what the grant of a renewal that was sent at sent counts from, where the term's last one counted from
// latest. The beat may be half of the time between two renewals ago, so that any two find together. b.mu must be held.
func (b *Backend) inRhythm(sent, latest backend.Instant) backend.Instant {
	return b.onBeat(sent, sent.Since(latest)/2)
}

// onBeat is what a grant counts from that was sent at sent: the beat, if that is most ago at most, and never later than it
// was sent. So the next renewals of several elections, each some time after that, fall together. What is too late for
// the beat is the next one itself. b.mu must be held.
func (b *Backend) onBeat(sent backend.Instant, most time.Duration) backend.Instant {
	if ago := sent.Since(b.beat); b.beat.Since(sent) <= 0 && ago <= most {
		return b.beat
	}
	b.beat = sent
	return sent
}

// send waits for the batch before and for those who are missing, not for long, and then sends g and hands out the
// answers.
func (b *Backend) send(ctx context.Context, g *batch, before <-chan struct{}) {
	if before == nil {
		before = g.full
	}
	enough := time.NewTimer(b.gather())
	defer enough.Stop()
	for _, wanted := range []<-chan struct{}{before, g.full} {
		select {
		case <-wanted:
			continue
		case <-enough.C:
		}
		break
	}
	b.mu.Lock()
	b.gathering, b.air = nil, g.done
	size := together
	if b.apart {
		size = 1
	}
	b.mu.Unlock()
	defer close(g.done)
	defer func() {
		for _, r := range g.renewals {
			close(r.done)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, b.bound)
	defer cancel()
	unknown, refused := b.exchange(ctx, g.renewals, size, false)
	_, again := b.exchange(ctx, unknown, size, true)
	// What one of them is refused for is nothing to the others.
	b.exchange(ctx, append(refused, again...), 1, true)
}

// exchange sends renewals, so many in one script, and all in one round trip unless there are very many. It returns those
// that were not carried out because the server does not know the script, and those that it refused together.
func (b *Backend) exchange(ctx context.Context, renewals []*renewal, size int, full bool) (unknown, refused []*renewal) {
	for some := range slices.Chunk(slices.Collect(slices.Chunk(renewals, size)), maxPipeline) {
		sent := backend.Now()
		for i, answer := range b.extend(ctx, some, full) {
			verdicts, err := answer.Slice()
			var reply redis.Error
			switch {
			case err == nil && len(verdicts) != len(some[i]):
				err = fmt.Errorf("redis gave %d answers to %d renewals", len(verdicts), len(some[i]))
			case err != nil && !full && redis.HasErrorPrefix(err, "NOSCRIPT"):
				unknown = append(unknown, some[i]...)
				continue
			case len(some[i]) > 1 && errors.As(err, &reply):
				b.setApart(reply)
				refused = append(refused, some[i]...)
				continue
			}
			for k, r := range some[i] {
				r.sent, r.err = sent, b.inTime(ctx, err)
				r.ours = err == nil && verdicts[k] == int64(1)
			}
		}
	}
	return unknown, refused
}

// setApart notes that keys of several elections cannot be in one script.
func (b *Backend) setApart(refusal redis.Error) {
	if strings.HasPrefix(refusal.Error(), "CROSSSLOT") {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.apart = true
	}
}

// extend is the requests of renewals, one for each of groups. Each answer has its own error.
func (b *Backend) extend(ctx context.Context, groups [][]*renewal, full bool) []*redis.Cmd {
	return b.exec(ctx, len(groups), func(c redis.Scripter, i int) *redis.Cmd {
		keys, args := make([]string, 0, len(groups[i])), []any{b.holder, b.ttl.Milliseconds()}
		for _, r := range groups[i] {
			keys, args = append(keys, leaseKey(r.l.c.key)), append(args, r.l.c.number, r.l.token)
		}
		return evaluate(ctx, c, b.scripts.renew, full, keys, args...)
	})
}
