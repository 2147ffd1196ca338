package rediskv

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxReads is how many records are read in one round trip: each has a value of up to MaxValueLen.
const maxReads = 100

// reading is one record that is to be read.
type reading struct {
	key    string
	values []any         // of fields
	left   time.Duration // until it expires
}

// read reads the record of key, together with others that are read at the same time. Its fields are of one moment; how
// long the lease has left is of one shortly after, and only says when to look again.
func (b *Backend) read(ctx context.Context, key string) (values []any, left time.Duration, _ error) {
	r := &reading{key: key}
	if err := b.reads.Ask(ctx, r); err != nil {
		return nil, 0, err
	}
	return r.values, r.left, nil
}

// readAll reads records, and returns an error or nil for each.
func (b *Backend) readAll(ctx context.Context, readings []*reading) (errs []error) {
	for some := range slices.Chunk(readings, maxReads) {
		type answer struct {
			values *redis.SliceCmd
			left   *redis.DurationCmd
		}
		answers, err := ask(ctx, b, func(ctx context.Context) ([]answer, error) {
			answers := make([]answer, len(some))
			pipe := b.client.Pipeline()
			for i, r := range some {
				answers[i] = answer{pipe.HMGet(ctx, leaseKey(r.key), fields()...), pipe.PTTL(ctx, leaseKey(r.key))}
			}
			_, err := pipe.Exec(ctx)
			if reply := redis.Error(nil); errors.As(err, &reply) {
				err = nil // each answer has its own
			}
			return answers, err
		})
		if err != nil {
			// Nobody answers: the rest need not find out one after the other.
			return append(errs, slices.Repeat([]error{err}, len(readings)-len(errs))...)
		}
		for i, r := range some {
			r.values, r.left = answers[i].values.Val(), answers[i].left.Val()
			errs = append(errs, cmp.Or(answers[i].values.Err(), answers[i].left.Err()))
		}
	}
	return errs
}
