package election

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// Observe yields who leads key now, the zero Leader when nobody does, and every change after that; of
// changes that come faster than the loop takes them, the last. It never stands for election and needs only the
// right to read. Tokens never go back.
//
// When the store fails it yields the last known leader with the error, and goes on by itself, with
// backoff (see WithRetry; the election's other options are checked but have no use here). A value that is
// no T comes with its token and an error. An error that is final comes last: one that no retry can mend, or a
// refusal that stood for two TTLs. The end of ctx just ends the loop. It does nothing until it is ranged over.
func Observe[T any](ctx context.Context, b backend.Backend, key string, opts ...Option) iter.Seq2[Leader[T], error] {
	return func(yield func(Leader[T], error) bool) {
		o := newOptions(opts)
		r, err := check(b, key, &o)
		if err == nil && ctx == nil {
			err = errors.New("election: the context is nil")
		}
		if err != nil {
			yield(Leader[T]{}, err)
			return
		}
		var (
			codec   = newCodec[T]()
			last    Leader[T]
			highest uint64
			pauses  = o.backoff(o.policy)
			denied  denials
		)
		for ctx.Err() == nil {
			trouble := errObserveEnded
			for l, err := range b.Observe(ctx, key) {
				if err != nil {
					trouble = err
					break
				}
				pauses.Reset()
				denied = denials{}
				if !l.Vacant() && l.Token < highest {
					continue // an old record, seen again
				}
				highest = max(highest, l.Token)
				last = codec.leader(l)
				if !yield(last, last.Err) {
					return
				}
			}
			if ctx.Err() != nil {
				return
			}
			pause := pauses.NextBackOff()
			c := classify(trouble)
			final := pause < 0 || c == classPermanent || c == classClosed || c == classDenied && denied.final(o.now(), r.ttl)
			o.logger.WarnContext(ctx, "election: who leads cannot be observed", slog.String("key", key), slog.Any("err", trouble), slog.Bool("final", final))
			if !yield(last, trouble) || final {
				return
			}
			rest(ctx, pause)
		}
	}
}

// rest waits for d, or for the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
