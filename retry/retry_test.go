package retry_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// almostOne is the largest number that a source of jitter may return.
func almostOne() float64 { return 1 - 1.0/(1<<53) }

// bounds returns the upper bounds of the first n pauses of p.
func bounds(p retry.Policy, n int) []time.Duration {
	b := p.StartWith(almostOne)
	var got []time.Duration
	for range n {
		pause := b.NextBackOff()
		if pause != retry.Stop {
			pause = pause.Round(time.Microsecond) // what almostOne is short of one
		}
		got = append(got, pause)
	}
	return got
}

func TestTheBoundDoublesUpToTheMax(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	for name, c := range map[string]struct {
		policy retry.Policy
		want   []time.Duration
	}{
		"zero policy":          {retry.Policy{}, []time.Duration{50 * ms, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5 * s, 5 * s, 5 * s}},
		"all set":              {retry.Policy{Initial: s, Max: 3 * s}, []time.Duration{s, 2 * s, 3 * s, 3 * s}},
		"only initial":         {retry.Policy{Initial: 2 * s}, []time.Duration{2 * s, 4 * s, 5 * s, 5 * s}},
		"initial over default": {retry.Policy{Initial: 7 * s}, []time.Duration{7 * s, 7 * s}},
		"only max":             {retry.Policy{Max: 150 * ms}, []time.Duration{50 * ms, 100 * ms, 150 * ms, 150 * ms}},
		"max under default":    {retry.Policy{Max: 10 * ms}, []time.Duration{10 * ms, 10 * ms}},
		"initial equals max":   {retry.Policy{Initial: s, Max: s}, []time.Duration{s, s, s}},
		"limit":                {retry.Policy{Initial: s, Max: 8 * s, Limit: 2}, []time.Duration{s, 2 * s, retry.Stop, retry.Stop}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.policy.Validate(); err != nil {
				t.Fatal(err)
			}
			if got := bounds(c.policy, len(c.want)); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("bounds %v, want %v", got, c.want)
			}
		})
	}
}

func TestAPolicyNeverGivesUpByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := retry.Policy{}.Start()
		for range 1000 {
			pause := b.NextBackOff()
			if pause < 0 || pause > retry.DefaultMax {
				t.Fatalf("pause %v, must be from 0 to %v", pause, retry.DefaultMax)
			}
			time.Sleep(time.Hour) // no elapsed time ends it either
		}
	})
}

func TestPausesAreDrawnFromZeroToTheBound(t *testing.T) {
	const draws = 20000
	random := rand.New(rand.NewPCG(1, 2))
	b := retry.Policy{Initial: time.Second, Max: time.Second}.StartWith(random.Float64)
	var tenths [10]int
	for range draws {
		pause := b.NextBackOff()
		if pause < 0 || pause >= time.Second {
			t.Fatalf("pause %v, must be from 0 to under %v", pause, time.Second)
		}
		tenths[pause*10/time.Second]++
	}
	for i, n := range tenths {
		if n < draws/10*8/10 || n > draws/10*12/10 {
			t.Errorf("%d of %d pauses fell into tenth %d of the range, want about a tenth: %v", n, draws, i, tenths)
		}
	}
}

func TestASeededSourceMakesPausesRepeatable(t *testing.T) {
	pauses := func(seed uint64) string {
		b := retry.Policy{}.StartWith(rand.New(rand.NewPCG(seed, 0)).Float64)
		var all []time.Duration
		for range 20 {
			all = append(all, b.NextBackOff())
		}
		return fmt.Sprint(all)
	}
	if a, b := pauses(1), pauses(1); a != b {
		t.Errorf("one seed gave %s and %s", a, b)
	}
	if pauses(1) == pauses(2) {
		t.Error("two seeds gave the same pauses")
	}
}

func TestStartJitters(t *testing.T) {
	p := retry.Policy{Initial: time.Hour, Max: time.Hour}
	if a, b := p.Start().NextBackOff(), p.Start().NextBackOff(); a == b {
		t.Errorf("two candidates drew the same pause %v", a)
	}
}

func TestResetStartsOver(t *testing.T) {
	b := retry.Policy{Initial: time.Second, Max: time.Minute, Limit: 3}.StartWith(func() float64 { return 0.5 })
	for range 2 {
		for _, want := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, retry.Stop, retry.Stop} {
			if got := b.NextBackOff(); got != want {
				t.Fatalf("pause %v, want %v", got, want)
			}
		}
		b.Reset()
	}
}

func TestBackoffsOfOnePolicyAreApart(t *testing.T) {
	p := retry.Policy{Initial: time.Second, Max: time.Minute, Limit: 2}
	first, second := p.StartWith(almostOne), p.StartWith(almostOne)
	first.NextBackOff()
	first.NextBackOff()
	if got := second.NextBackOff().Round(time.Millisecond); got != time.Second {
		t.Errorf("first pause of the second backoff is %v, want %v", got, time.Second)
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		policy retry.Policy
		want   []string
	}{
		"negative initial":  {retry.Policy{Initial: -time.Second}, []string{"initial pause is -1s"}},
		"negative max":      {retry.Policy{Max: -1}, []string{"longest pause is -1ns"}},
		"negative limit":    {retry.Policy{Limit: -2}, []string{"limit is -2"}},
		"initial over max":  {retry.Policy{Initial: time.Minute, Max: time.Second}, []string{"initial pause 1m0s", "longest pause 1s"}},
		"all that is wrong": {retry.Policy{Initial: -1, Max: -2, Limit: -3}, []string{"-1ns", "-2ns", "-3"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.policy.Validate()
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, must tell %q", err, want)
				}
			}
		})
	}
	for _, good := range []retry.Policy{{}, {Initial: 1, Max: 1, Limit: 1}, {Initial: time.Hour}, {Max: 1}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}

// facts is an error type of a caller's.
type facts struct{ code int }

func (f *facts) Error() string { return fmt.Sprintf("code %d", f.code) }

func TestPermanentSurvivesWrapping(t *testing.T) {
	cause := &facts{403}
	marked := retry.Permanent(cause)
	for name, err := range map[string]error{
		"bare":             marked,
		"wrapped":          fmt.Errorf("renew: %w", marked),
		"wrapped twice":    fmt.Errorf("election: %w", fmt.Errorf("renew: %w", marked)),
		"joined":           errors.Join(errors.New("another"), marked),
		"one of two":       fmt.Errorf("%w and %w", errors.New("another"), marked),
		"marked twice":     retry.Permanent(fmt.Errorf("outer: %w", marked)),
		"mark of backoff":  fmt.Errorf("renew: %w", backoff.Permanent(cause)),
		"marked from afar": retry.Permanent(fmt.Errorf("wraps: %w", cause)),
	} {
		t.Run(name, func(t *testing.T) {
			if !retry.IsPermanent(err) {
				t.Error("IsPermanent is false")
			}
			if got, ok := errors.AsType[*facts](err); !ok || got.code != 403 || !errors.Is(err, cause) {
				t.Errorf("the cause is hidden: %v", err)
			}
		})
	}
	for name, err := range map[string]error{"nil": nil, "plain": cause, "text only": fmt.Errorf("renew: %v", marked)} {
		if retry.IsPermanent(err) {
			t.Errorf("%s: IsPermanent is true", name)
		}
	}
	if err := retry.Permanent(nil); err != nil {
		t.Errorf("Permanent(nil) = %v, want nil", err)
	}
	if marked.Error() != cause.Error() {
		t.Errorf("the mark changes the message to %q", marked)
	}
}

func TestBackoffRetryFollowsThePolicyAndTheMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trouble, final := errors.New("trouble"), errors.New("final")
		for name, c := range map[string]struct {
			answers []error // the last one repeats
			calls   int
			want    error
			took    time.Duration
		}{
			"success":           {[]error{nil}, 1, nil, 0},
			"success at last":   {[]error{trouble, trouble, nil}, 3, nil, 1500 * time.Millisecond},
			"the limit":         {[]error{trouble}, 4, trouble, 3500 * time.Millisecond},
			"permanent at once": {[]error{retry.Permanent(final)}, 1, final, 0},
			"permanent later":   {[]error{trouble, fmt.Errorf("wrapped: %w", retry.Permanent(final))}, 2, final, 500 * time.Millisecond},
		} {
			b := retry.Policy{Initial: time.Second, Max: time.Minute, Limit: 3}.StartWith(func() float64 { return 0.5 })
			calls, start := 0, time.Now()
			err := backoff.Retry(func() error {
				calls++
				return c.answers[min(calls, len(c.answers))-1]
			}, b)
			if !errors.Is(err, c.want) || calls != c.calls || time.Since(start) != c.took {
				t.Errorf("%s: error %v after %d calls and %v, want %v after %d and %v", name, err, calls, time.Since(start), c.want, c.calls, c.took)
			}
		}
	})
}
