package election

import (
	"errors"
	"log/slog"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

// Option changes a default of New or Observe. All options are checked together, before anything is
// asked of the store; a nil Option is none.
type Option func(*options)

type options struct {
	margin     *time.Duration
	drain      *time.Duration
	drainLimit *time.Duration
	pause      *time.Duration
	policy     retry.Policy
	logger     *slog.Logger
	now        func() instant
	random     func() float64
}

// WithRetry sets how long to wait after a failed candidacy. The default is 50 ms, doubling, to a third of
// the TTL or 5 s, whichever is less, with full jitter and no limit. With a limit, the campaign ends in a
// last Errored event when it is used up; a win resets it. Renewals have their own, tighter, pace.
func WithRetry(p retry.Policy) Option { return func(o *options) { o.policy = p } }

// WithMargin sets how long before the lease could expire in the store a term is over for this candidate.
// It covers clocks that run at different rates, and must be positive. The default is a tenth of the TTL,
// and at least 500 ms where the TTL allows (it never takes more than a quarter for that).
func WithMargin(d time.Duration) Option { return func(o *options) { o.margin = &d } }

// WithDrain sets how long before the term is over its work is told to stop, when renewals fail. The
// default is a fifth of the TTL.
func WithDrain(d time.Duration) Option { return func(o *options) { o.drain = &d } }

// WithDrainLimit sets how long work that was told to stop keeps its lease renewed. After that it is
// reported to the logger, the lease is left to run out, and the key is not given up before the work
// returns. The default is twice the TTL.
func WithDrainLimit(d time.Duration) Option { return func(o *options) { o.drainLimit = &d } }

// WithResignPause sets how long a candidate waits after Resign before it stands again, so that others
// are preferred. The default is a third of the TTL or 5 s, whichever is less.
func WithResignPause(d time.Duration) Option { return func(o *options) { o.pause = &d } }

// WithLogger sets where trouble and changes of state are logged; the default is slog.Default(), so that a
// store that cannot be reached is never silent. Values of leaders are not logged.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

func newOptions(opts []Option) options {
	o := options{logger: slog.Default(), now: backend.Now}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// settle fills in what follows from the TTL, and says what does not go together.
func (o *options) settle(ttl time.Duration) (rules, error) {
	longest := min(ttl/pausePart, maxPause)
	r := rules{ttl: ttl, margin: o.margin, drain: o.drain, drainLimit: 2 * ttl, pause: longest, release: longest}
	if o.drainLimit != nil {
		r.drainLimit = *o.drainLimit
	}
	if o.pause != nil {
		r.pause = *o.pause
	}
	errs := []error{r.validate(), o.policy.Validate()}
	if o.logger == nil {
		errs = append(errs, errors.New("election: the logger is nil"))
	}
	if err := errors.Join(errs...); err != nil {
		return rules{}, err
	}
	if o.policy.Max == 0 {
		o.policy.Max = max(longest, o.policy.Initial)
	}
	return r, nil
}

// backoff starts p with the election's source of jitter.
func (o *options) backoff(p retry.Policy) *retry.Backoff {
	if o.random == nil {
		return p.Start()
	}
	return p.StartWith(o.random)
}
