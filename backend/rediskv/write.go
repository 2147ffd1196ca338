package rediskv

import (
	"context"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
)

// writing is one record that is to be taken, or to be removed.
type writing struct {
	c     *candidacy
	takes bool
	value string // that is announced by taking it
	outcome
}

// outcome is what came of a writing. Without an error, a record that was to be removed is gone.
type outcome struct {
	attempt
	err error
}

// write takes or removes a record: at once where no other is on its way, else together with others. So a process that
// stands for a thousand elections begins and ends with a handful of round trips, on few connections. Who leaves costs the
// others nothing. Where there are several servers each goes for itself, because what was sent to all of them together is
// answered when the slowest has, and one that hangs is to hold up no other's elections.
func (b *Backend) write(ctx context.Context, w *writing) error {
	if b.several {
		return b.writeAll(ctx, []*writing{w})[0]
	}
	return b.writes.Ask(ctx, w)
}

// writeAll takes and removes records, and returns an error or nil for each. All together are bounded as one request.
func (b *Backend) writeAll(ctx context.Context, writings []*writing) (errs []error) {
	outcomes, err := ask(ctx, b, func(ctx context.Context) (all []outcome, _ error) {
		for some := range slices.Chunk(writings, maxPipeline) {
			all = append(all, b.carryOut(ctx, some)...)
		}
		return all, nil
	})
	if err != nil {
		return slices.Repeat([]error{err}, len(writings))
	}
	for i, w := range writings {
		w.outcome = outcomes[i]
		errs = append(errs, w.err)
	}
	return errs
}

// carryOut sends writings in one round trip, unless the server does not know a script. A win that comes to light when the
// candidacy was given up already is undone.
func (b *Backend) carryOut(ctx context.Context, writings []*writing) []outcome {
	sent := backend.Now()
	answers := b.answers(ctx, writings, false)
	var unknown []int
	var inFull []*writing
	for i, answer := range answers {
		if redis.HasErrorPrefix(answer.Err(), "NOSCRIPT") {
			unknown, inFull = append(unknown, i), append(inFull, writings[i])
		}
	}
	for k, answer := range b.answers(ctx, inFull, true) {
		answers[unknown[k]] = answer
	}
	outcomes := make([]outcome, len(writings))
	var late []*writing
	for i, w := range writings {
		if w.takes {
			outcomes[i].attempt, outcomes[i].err = b.judge(w.c.key, sent, answers[i])
		} else {
			outcomes[i].err = answers[i].Err()
		}
		outcomes[i].err = b.inTime(ctx, outcomes[i].err)
		if outcomes[i].won && b.isGone(w.c) {
			late = append(late, &writing{c: w.c})
		}
	}
	if len(late) > 0 {
		b.carryOut(ctx, late) // or they expire
	}
	return outcomes
}

// answers is the requests of writings, in one round trip. Each answer has its own error.
func (b *Backend) answers(ctx context.Context, writings []*writing, full bool) []*redis.Cmd {
	return b.exec(ctx, len(writings), func(c redis.Scripter, i int) *redis.Cmd {
		key, number := writings[i].c.key, writings[i].c.number
		if !writings[i].takes {
			return evaluate(ctx, c, b.scripts.release, full, keys(key), b.holder, number, channel(key))
		}
		floor, raise := b.floor(key)
		heal := "0"
		if raise {
			heal = "1"
		}
		return evaluate(ctx, c, b.scripts.acquire, full, keys(key), b.holder, number, b.ttl.Milliseconds(),
			strconv.FormatUint(floor, 10), strconv.FormatUint(floor+1, 10), heal, writings[i].value, channel(key))
	})
}
