package election

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

const testTTL = 15 * time.Second

// bench drives a machine by hand, on a clock of its own.
type bench struct {
	t     testing.TB
	m     *machine
	now   time.Duration
	slept time.Duration
	all   []effect // of the last step
	log   []effect // of all steps
}

func newBench(t testing.TB) *bench {
	t.Helper()
	o := newOptions(nil)
	r, err := o.settle(testTTL)
	if err != nil {
		t.Fatal(err)
	}
	half := func() float64 { return 0.5 }
	p := retry.Policy{Max: 5 * time.Second}
	return &bench{t: t, now: time.Hour, m: newMachine(r, []byte("v"), p.StartWith(half), p.StartWith(half), p.StartWith(half))}
}

func (b *bench) instant() instant { return backend.InstantAt(b.now, b.now, b.slept) }

// do passes d, then tells f, filling in the number that it answers.
func (b *bench) do(d time.Duration, f fact) *bench {
	b.t.Helper()
	b.now += d
	f = b.number(f)
	b.all = b.m.step(b.instant(), f)
	b.log = append(b.log, b.all...)
	return b
}

// number fills in the number of the effect that f answers.
func (b *bench) number(f fact) fact {
	if f.seq != 0 {
		return f
	}
	switch f.kind {
	case factWon, factFailed, factRenewed, factRenewFailed, factProclaimed, factReleased:
		f.seq = b.m.call
	case factLost, factWaitFailed, factClosed:
		f.seq = b.m.wait
	case factObserved, factObserveFailed:
		f.seq = b.m.observing
	case factExpired, factLeadReturned, factWorkReturned:
		f.seq = b.m.term
	default:
	}
	return f
}

func (b *bench) granted(ago time.Duration) grant {
	return grant{Sent: backend.InstantAt(b.now-ago, b.now-ago, b.slept), TTL: testTTL}
}

func (b *bench) won(ago time.Duration) fact {
	return fact{kind: factWon, token: b.m.highest + 1, grant: b.granted(ago)}
}

// kinds lists the effects of the last step, in order.
func (b *bench) kinds() string {
	var s []string
	for _, e := range b.all {
		text := effectNames[e.kind]
		if e.kind == effectPublish {
			text += "(" + e.event.state.String() + ")"
		}
		s = append(s, text)
	}
	return strings.Join(s, " ")
}

func (b *bench) find(k effectKind) *effect {
	for i := range b.all {
		if b.all[i].kind == k {
			return &b.all[i]
		}
	}
	return nil
}

func (b *bench) want(p phase, kinds string) *bench {
	b.t.Helper()
	if b.m.phase != p || b.kinds() != kinds {
		b.t.Fatalf("got %s, effects %q\nwant %s, effects %q", phaseNames[b.m.phase], b.kinds(), phaseNames[p], kinds)
	}
	return b
}

var phaseNames = [phaseCount]string{
	"Idle", "Campaigning", "Confirming", "Withdrawing", "Leading", "Draining", "Releasing", "Pausing", "BackingOff", "Ended",
}

var factNames = [factCount]string{
	"start", "won", "failed", "renewed", "renew failed", "proclaimed", "released", "lost", "wait failed", "closed",
	"expired", "observed", "observe failed", "listeners", "lead returned", "work returned", "resign asked", "stop asked",
	"proclaim asked", "confirm asked", "soft due", "hard due", "drain due", "renew due", "retry due", "wait due", "observe due", "tick",
}

var effectNames = [effectCount]string{
	"campaign", "abort", "renew", "proclaim", "release", "discard", "wait", "begin", "install", "cancel", "over", "await",
	"observe", "observe-stop", "publish", "amend", "answer", "report", "finish",
}

var ruleNames = [ruleCount]string{
	"unset", "·", "stand", "win", "winLate", "discard", "fail", "withdrawn", "confirmed", "extend", "missed", "settle", "lose",
	"loseAgain", "relisten", "listen", "shut", "shutLater", "expire", "overdue", "overrun", "giveUp", "renew", "follow", "note",
	"rival", "blind", "reobserve", "observe", "attend", "remark", "done", "drained", "released", "again", "withdraw", "resign",
	"resignNext", "yield", "leave", "leaveNext", "end", "proclaim", "told", "confirm", "refuse",
}

var errTest = errors.New("trouble")
