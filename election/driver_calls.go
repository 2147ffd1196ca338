package election

import (
	"context"
	"errors"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

// The calls that the driver makes to the store, each in a goroutine of its own that hands the answer to the loop. Where
// the store tells of loss and of leaders by itself, no goroutine waits for that.

// campaign stands until the key is won or the candidacy fails.
func (d *driver) campaign(e effect) {
	ctx, cancel := context.WithCancel(d.base)
	d.cancelCall = cancel
	seq, value := e.seq, e.value // all that is kept of it while others lead
	d.group.Go(func() error {
		defer cancel()
		lease, err := d.backend.Campaign(ctx, d.key, value)
		if err != nil {
			d.post(message{fact: fact{kind: factFailed, seq: seq, err: err, class: classify(err)}})
			return nil
		}
		d.post(message{
			fact:  fact{kind: factWon, seq: seq, token: lease.Token(), grant: lease.Grant()},
			lease: lease,
		})
		return nil
	})
}

// call makes one bounded call on the lease of a term. A call that hangs costs one attempt.
func (d *driver) call(e effect) {
	lease := d.lease
	ctx, cancel := context.WithTimeout(d.base, e.bound)
	d.cancelCall = cancel
	d.group.Go(func() error {
		defer cancel()
		f := fact{seq: e.seq}
		switch e.kind { //nolint:exhaustive // the three that execute sends here
		case effectRenew:
			f.kind = factRenewed
			if f.grant, f.err = lease.Renew(ctx); f.err != nil {
				f.kind = factRenewFailed
			}
		case effectProclaim:
			f.kind, f.err = factProclaimed, lease.Proclaim(ctx, e.value)
		case effectRelease:
			f.kind, f.err = factReleased, lease.Resign(ctx)
		}
		f.class = classify(f.err)
		d.post(message{fact: f})
		return nil
	})
}

// discard gives back a lease that nobody waits for.
func (d *driver) discard(lease backend.Lease) {
	d.group.Go(func() error {
		ctx, cancel := context.WithTimeout(d.base, d.m.rules.release)
		defer cancel()
		if err := lease.Resign(ctx); err != nil {
			d.warn("a key won too late could not be given up; it expires within its TTL", err)
		}
		return nil
	})
}

// wait listens for the loss of the lease.
func (d *driver) wait(seq uint64) {
	if d.cancelWait != nil {
		d.cancelWait() // it has failed
	}
	told := func(err error) message { return message{fact: lossOf(seq, err)} }
	if lease, ok := d.lease.(backend.LossTeller); ok {
		d.cancelWait = lease.TellLoss(d.base, func(err error) { d.tell(told(err)) })
		return
	}
	lease := d.lease
	ctx, cancel := context.WithCancel(d.base)
	d.cancelWait = cancel
	d.group.Go(func() error {
		defer cancel()
		err := lease.Wait(ctx)
		if ctx.Err() != nil {
			return nil // no longer asked
		}
		select {
		case d.facts <- told(err):
		case <-ctx.Done():
		}
		return nil
	})
}

func lossOf(seq uint64, err error) fact {
	f := fact{kind: factWaitFailed, seq: seq, err: err, class: classify(err)}
	switch f.class {
	case classLost:
		f.kind = factLost
	case classClosed:
		f.kind = factClosed
	case classPassing, classDenied, classPermanent:
	}
	return f
}

// observe reports who leads until it fails or is stopped.
func (d *driver) observe(seq uint64) {
	if d.cancelObserve != nil {
		d.cancelObserve() // it has failed, or was stopped
	}
	told := func(l leader, err error) message {
		if err != nil {
			return message{fact: fact{kind: factObserveFailed, seq: seq, err: err}}
		}
		return message{fact: fact{kind: factObserved, seq: seq, leader: l}}
	}
	if b, ok := d.backend.(backend.LeaderTeller); ok {
		d.cancelObserve = b.TellLeaders(d.base, d.key, func(l leader, err error) { d.tell(told(l, err)) })
		return
	}
	ctx, cancel := context.WithCancel(d.base)
	d.cancelObserve = cancel
	d.group.Go(func() error {
		defer cancel()
		trouble := errObserveEnded
		for l, err := range d.backend.Observe(ctx, d.key) {
			if err != nil {
				trouble = err
				break
			}
			select {
			case d.facts <- told(l, nil):
			case <-ctx.Done():
				return nil
			}
		}
		select {
		case d.facts <- told(leader{}, trouble):
		case <-ctx.Done():
		}
		return nil
	})
}

var errObserveEnded = errors.New("the backend ended the observation without a reason")

// classify tells the machine what kind of error a store gave.
func classify(err error) class {
	switch {
	case errors.Is(err, backend.ErrLost):
		return classLost
	case errors.Is(err, backend.ErrClosed):
		return classClosed
	case errors.Is(err, backend.ErrDenied):
		return classDenied
	case retry.IsPermanent(err):
		return classPermanent
	default:
		return classPassing
	}
}
