package election

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
)

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
				checkStep(t, name+" + "+factNames[k], from, b.m, b.m.out)
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
func checkStep(t *testing.T, name string, from phase, m *machine, out []effect) {
	t.Helper()
	calls, cancelled := 0, false
	for i, e := range out {
		switch e.kind {
		case effectCampaign, effectRenew, effectProclaim, effectRelease:
			calls++
			if e.kind == effectRelease && !m.over {
				t.Errorf("%s: released before the term was over", name)
			}
			if e.seq != m.call && m.phase != phaseEnded {
				t.Errorf("%s: call %d, but %d is under way", name, e.seq, m.call)
			}
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
			if i != len(out)-1 || m.phase != phaseEnded {
				t.Errorf("%s: finish is not last", name)
			}
		default:
		}
	}
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
