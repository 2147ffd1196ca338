package election

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
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
	b.all = slices.Clone(b.m.step(b.instant(), f))
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

// scenes brings a machine, by facts alone, into every phase, once for everything that may follow.
var scenes = map[string]func(b *bench){
	"Idle":        func(*bench) {},
	"Campaigning": func(b *bench) { b.do(0, fact{kind: factStart}) },
	"Campaigning unobserved": func(b *bench) {
		b.do(0, fact{kind: factListeners, n: 1}).do(0, fact{kind: factStart})
	},
	"Confirming": func(b *bench) {
		b.do(0, fact{kind: factStart}).do(0, b.won(7*time.Second))
	},
	"Withdrawing to pause": func(b *bench) { b.do(0, fact{kind: factStart}).do(0, fact{kind: factResignAsked, err: ErrResigned}) },
	"Withdrawing to end":   func(b *bench) { b.do(0, fact{kind: factStart}).do(0, fact{kind: factStopAsked, err: errTest}) },
	"Leading":              leading,
	"Leading while renewing": func(b *bench) {
		leading(b)
		b.do(6*time.Second, fact{kind: factTick})
	},
	"Leading while proclaiming": func(b *bench) {
		leading(b)
		b.do(0, fact{kind: factProclaimAsked, value: []byte("w"), id: 9})
	},
	"Draining to campaign": func(b *bench) { leading(b); b.do(0, fact{kind: factLost, err: ErrLost}) },
	"Draining to back off": func(b *bench) { leading(b); b.do(11*time.Second, fact{kind: factTick}) },
	"Draining to pause":    func(b *bench) { leading(b); b.do(0, fact{kind: factResignAsked, err: ErrResigned}) },
	"Draining to end":      func(b *bench) { leading(b); b.do(0, fact{kind: factStopAsked, err: errTest}) },
	"Draining, closed":     func(b *bench) { leading(b); b.do(0, fact{kind: factClosed, err: backend.ErrClosed}) },
	"Draining, over": func(b *bench) {
		leading(b)
		b.do(14*time.Second, fact{kind: factTick})
	},
	"Releasing, then campaign": func(b *bench) {
		leading(b)
		b.do(6*time.Second, fact{kind: factTick}) // a renewal is under way
		b.do(0, fact{kind: factLost, err: ErrLost}).do(0, fact{kind: factWorkReturned})
	},
	"Releasing, then back off": func(b *bench) {
		leading(b)
		b.do(11*time.Second, fact{kind: factTick}).do(0, fact{kind: factRenewFailed, err: errTest}).do(0, fact{kind: factWorkReturned})
	},
	"Releasing, then pause": func(b *bench) {
		leading(b)
		b.do(0, fact{kind: factResignAsked, err: ErrResigned}).do(0, fact{kind: factWorkReturned})
	},
	"Releasing, then end": func(b *bench) {
		leading(b)
		b.do(0, fact{kind: factStopAsked, err: errTest}).do(0, fact{kind: factWorkReturned})
	},
	"Pausing": func(b *bench) {
		leading(b)
		b.do(0, fact{kind: factResignAsked, err: ErrResigned}).do(0, fact{kind: factWorkReturned}).do(0, fact{kind: factReleased})
	},
	"BackingOff": func(b *bench) { b.do(0, fact{kind: factStart}).do(0, fact{kind: factFailed, err: errTest}) },
	"Ended": func(b *bench) {
		b.do(0, fact{kind: factStart}).do(0, fact{kind: factStopAsked, err: errTest}).do(0, fact{kind: factFailed})
	},
}

func leading(b *bench) { b.do(0, fact{kind: factStart}).do(0, b.won(0)) }

// variants are the shapes that a fact of a kind comes in.
func variants(b *bench, k factKind) []fact {
	switch k {
	case factWon:
		small := b.won(0)
		small.grant.TTL = time.Millisecond
		return []fact{b.won(0), b.won(7 * time.Second), b.won(11 * time.Second), small}
	case factRenewed:
		small := b.granted(0)
		small.TTL = time.Millisecond
		return []fact{{kind: k, grant: b.granted(0)}, {kind: k, grant: b.granted(11 * time.Second)}, {kind: k, grant: small}}
	case factFailed, factRenewFailed, factProclaimed, factReleased:
		fs := []fact{}
		for c := classPassing; c <= classClosed; c++ {
			fs = append(fs, fact{kind: k, class: c, err: errTest})
		}
		if k == factProclaimed || k == factReleased {
			fs = append(fs, fact{kind: k})
		}
		return fs
	case factObserved:
		return []fact{{kind: k}, {kind: k, leader: leader{Token: b.m.highest}}, {kind: k, leader: leader{Token: b.m.highest + 5}}}
	case factListeners:
		return []fact{{kind: k}, {kind: k, n: 1}}
	case factStopAsked:
		return []fact{{kind: k, err: errTest}, {kind: k, err: errTest, n: 1}}
	default:
		return []fact{{kind: k, err: errTest, id: 7, value: []byte("x")}}
	}
}

// TestEveryPairOfTheTable tells every fact, in every shape, to a machine in every phase, and checks what
// must hold of any step. What it sees is the diagram.
func TestEveryPairOfTheTable(t *testing.T) {
	type pair struct {
		p phase
		k factKind
	}
	edges := map[string]map[string]bool{} // "from → to" in phases: the facts that lead there
	walked := map[pair]bool{}
	for name, scene := range scenes {
		for k := range factCount {
			shapes := len(variants(newBench(t), k))
			for i := range shapes {
				b := newBench(t)
				scene(b)
				from := b.m.phase
				if !strings.HasPrefix(name, phaseNames[from]) {
					t.Fatalf("scene %q ended in %s", name, phaseNames[from])
				}
				if table[k][from] == unset {
					t.Errorf("no rule for %q in %s", factNames[k], phaseNames[from])
				}
				walked[pair{from, k}] = true
				f := b.number(variants(b, k)[i])
				b.m.out = b.m.out[:0]
				b.m.apply(b.instant(), f) // past the filter for stale numbers, so that the rule itself is seen
				checkStep(t, name+" + "+factNames[k], from, b.m)
				if to := b.m.phase; to != from {
					e := phaseNames[from] + " → " + phaseNames[to]
					if edges[e] == nil {
						edges[e] = map[string]bool{}
					}
					edges[e][factNames[k]] = true
				}
			}
		}
	}
	if got, want := len(walked), int(phaseCount)*int(factCount); got != want {
		t.Errorf("walked %d pairs of %d", got, want)
	}
	golden(t, "../docs/fsm.md", diagram(edges))
}

// checkStep holds for the effects of every single step.
func checkStep(t *testing.T, name string, from phase, m *machine) {
	t.Helper()
	calls, over, cancelled := 0, false, false
	for i, e := range m.out {
		switch e.kind {
		case effectCampaign, effectRenew, effectProclaim, effectRelease:
			calls++
			if e.kind == effectRelease && !m.over {
				t.Errorf("%s: released before the term was over", name)
			}
			if e.seq != m.call && m.phase != phaseEnded {
				t.Errorf("%s: call %d, but %d is under way", name, e.seq, m.call)
			}
		case effectOver:
			over = true
		case effectCancel:
			cancelled = true
		case effectPublish:
			if e.event.ends != 0 && !cancelled {
				t.Errorf("%s: the end of a term is told before its context has ended", name)
			}
			if e.event.state == StateLeader && (from == phaseLeading || e.event.term == 0) {
				t.Errorf("%s: a second Leader event", name)
			}
		case effectFinish:
			if i != len(m.out)-1 || m.phase != phaseEnded {
				t.Errorf("%s: finish is not last", name)
			}
		default:
		}
	}
	_ = over
	if calls > 1 {
		t.Errorf("%s: %d calls at once", name, calls)
	}
	if m.phase == phaseEnded && m.observing != 0 {
		t.Errorf("%s: still observing after the end", name)
	}
}

// diagram draws the machine from its table and from what the walk has seen.
func diagram(edges map[string]map[string]bool) string {
	var s strings.Builder
	s.WriteString("# The machine\n\nGenerated from `election/fsm_table.go` by `go test ./election -run EveryPair -update`; a test compares it.\n\n")
	s.WriteString("## What happens, for every fact in every phase\n\nA dot means that the fact is ignored. Names are those of the rules in the table.\n\n```\n")
	fmt.Fprintf(&s, "%-15s", "")
	for _, p := range phaseNames {
		fmt.Fprintf(&s, " %-11s", p)
	}
	s.WriteString("\n")
	for k, row := range table {
		fmt.Fprintf(&s, "%-15s", factNames[k])
		for _, r := range row {
			fmt.Fprintf(&s, " %-11s", ruleNames[r])
		}
		s.WriteString("\n")
	}
	s.WriteString("```\n\n## Which phase follows which\n\n```mermaid\nstateDiagram-v2\n    [*] --> Idle\n")
	var list []string
	for e, facts := range edges {
		var names []string
		for f := range facts {
			names = append(names, f)
		}
		slices.Sort(names)
		list = append(list, fmt.Sprintf("    %s: %s\n", strings.Replace(e, "→", "-->", 1), strings.Join(names, ", ")))
	}
	slices.Sort(list)
	s.WriteString(strings.Join(list, ""))
	s.WriteString("    Ended --> [*]\n```\n")
	return strings.ReplaceAll(s.String(), " \n", "\n")
}

// golden compares got with a file, or writes it under -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	for strings.Contains(got, " \n") {
		got = strings.ReplaceAll(got, " \n", "\n")
	}
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s is out of date; go test ./election -update writes it anew, look at what has changed", path)
	}
}

// TestRandomWalks drives machines with random answers, delays and wishes, a few hundred thousand steps in
// all, and checks what must hold of every run: one call at a time, nothing released under work that
// runs, the end of every term told, and an end to every campaign that was asked to end.
func TestRandomWalks(t *testing.T) {
	seeds := 3000
	if testing.Short() {
		seeds = 300
	}
	for seed := range seeds {
		walk(t, uint64(seed))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func walk(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	b := newBench(t)
	var (
		working, awaited bool
		announced        uint64 // term told to have begun, and not to have ended
		finished         bool
		lastToken        uint64
		call             effectKind
		calling          bool
	)
	absorb := func() {
		for _, e := range b.all {
			if finished {
				t.Errorf("effect %s after the end", effectNames[e.kind])
			}
			switch e.kind {
			case effectCampaign, effectRenew, effectProclaim, effectRelease:
				if calling {
					t.Errorf("%s while %s is under way", effectNames[e.kind], effectNames[call])
				}
				call, calling = e.kind, true
				if working && (e.kind == effectRelease || e.kind == effectCampaign) {
					t.Errorf("%s under work that runs", effectNames[e.kind])
				}
			case effectBegin:
				working, awaited = true, false
				if e.token <= lastToken {
					t.Errorf("token %d after %d", e.token, lastToken)
				}
				lastToken = e.token
			case effectAwait:
				awaited = true
			case effectPublish:
				if e.event.ends != 0 {
					if announced != e.event.ends {
						t.Errorf("told the end of term %d, announced was %d", e.event.ends, announced)
					}
					announced = 0
				} else if announced != 0 {
					t.Errorf("%v published while a term was announced", e.event.state)
				}
				if e.event.term != 0 {
					announced = e.event.term
				}
			case effectFinish:
				finished = true
				if working {
					t.Error("finished under work that runs")
				}
				if announced != 0 {
					t.Error("finished without the end of the term told")
				}
			default:
			}
		}
	}
	b.do(0, fact{kind: factListeners, n: rnd.IntN(2)})
	b.do(0, fact{kind: factStart})
	absorb()
	kind := func(ok, bad factKind) fact {
		if rnd.IntN(3) > 0 {
			return fact{kind: ok, grant: b.granted(time.Duration(rnd.Int64N(int64(testTTL)))), token: lastToken + 1 + uint64(rnd.IntN(3))}
		}
		f := fact{kind: bad, err: errTest}
		if rnd.IntN(4) == 0 {
			f.class = class(rnd.IntN(int(classClosed) + 1))
		}
		return f
	}
	for i := range 400 {
		if finished {
			return
		}
		stopping := i > 200
		pause := time.Duration(rnd.Int64N(int64(2 * time.Second)))
		if rnd.IntN(40) == 0 {
			pause = time.Duration(rnd.Int64N(int64(time.Minute)))
			b.slept += pause
		}
		f := fact{kind: factTick}
		switch n := rnd.IntN(10); {
		case calling && n < 5:
			calling = false
			switch call {
			case effectCampaign:
				f = kind(factWon, factFailed)
			case effectRenew:
				f = kind(factRenewed, factRenewFailed)
			case effectProclaim:
				f = kind(factProclaimed, factProclaimed)
			default:
				f = kind(factReleased, factReleased)
			}
			f.seq = b.m.call
		case n == 5 && awaited && working:
			working = false
			f = fact{kind: factWorkReturned}
		case n == 6 && !stopping:
			f = fact{kind: []factKind{factLost, factWaitFailed, factClosed, factExpired, factResignAsked, factProclaimAsked, factConfirmAsked, factStopAsked, factLeadReturned}[rnd.IntN(9)], err: errTest, id: 3}
			if f.kind == factStopAsked || f.kind == factClosed || f.kind == factLeadReturned {
				if rnd.IntN(10) > 0 {
					f = fact{kind: factTick}
				}
			}
		case n == 7:
			f = fact{kind: factObserved, leader: leader{Token: uint64(rnd.IntN(int(lastToken) + 2))}}
			if rnd.IntN(3) == 0 {
				f = fact{kind: factObserveFailed, err: errTest}
			}
		case n == 8:
			f = fact{kind: factListeners, n: rnd.IntN(2)}
		case stopping:
			f = fact{kind: factStopAsked, err: errTest}
		}
		b.do(pause, f)
		absorb()
	}
	if !finished {
		t.Errorf("asked to stop, but still in %s, call %v, working %v", phaseNames[b.m.phase], calling, working)
	}
}
