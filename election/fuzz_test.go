package election

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/url"
	"testing"
	"time"
)

// FuzzMachine tells a machine any facts at all, at any times, numbered right or wrong, and checks what
// must hold of every step and of every run. Each fact is eight bytes, so that the fuzzer can cut, repeat
// and reorder them.
func FuzzMachine(f *testing.F) {
	const size, most = 8, 300
	for _, script := range [][]byte{
		{byte(factStart), 0, 0, 0, 0, 0, 0, 0},
		{byte(factStart), 0, 0, 0, 0, 0, 0, 0, byte(factWon), 0, 0, 0, 0, 1, 0, 0, byte(factTick), 0, 0, 40, 0, 0, 0, 0},
		{byte(factListeners), 0, 0, 0, 0, 1, 0, 0, byte(factStart), 0, 0, 0, 0, 0, 0, 0, byte(factObserved), 0, 0, 0, 0, 5, 0, 0},
		{byte(factStart), 0, 0, 0, 0, 0, 0, 0, byte(factWon), 0, 0, 0, 0, 1, 0, 0, byte(factResignAsked), 0, 0, 1, 0, 0, 0, 0, byte(factWorkReturned), 0, 0, 1, 0, 0, 0, 0, byte(factReleased), 0, 0, 1, 0, 0, 0, 0},
	} {
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		b := newBench(t)
		w := onlooker{t: t, b: b}
		script = script[:min(len(script), most*size)]
		for ; len(script) >= size && !w.finished; script = script[size:] {
			w.tell(script[:size])
		}
		w.end()
	})
}

// onlooker plays what surrounds a machine, as far as what it is told must fit what it has asked for.
type onlooker struct {
	t        *testing.T
	b        *bench
	calling  bool
	call     effectKind // which
	working  bool
	awaited  bool
	finished bool
	began    uint64
	token    uint64
}

// tell makes a fact of eight bytes: kind, class, two of time passed (in 4 ms), suspended time, a number,
// how old a grant is, and whether the fact is numbered right.
func (o *onlooker) tell(s []byte) {
	b := o.b
	pass := time.Duration(binary.BigEndian.Uint16(s[2:4])) * 4 * time.Millisecond
	b.slept += time.Duration(s[4]) * 50 * time.Millisecond
	f := fact{kind: factKind(s[0]) % factCount, id: uint64(s[5]), n: int(s[5]) % 3, value: s[5:6]}
	switch f.kind {
	case factFailed, factRenewFailed, factLost, factWaitFailed, factClosed, factObserveFailed, factStopAsked, factResignAsked:
		f.err, f.class = errTest, class(s[1])%(classClosed+1)
	case factProclaimed, factReleased, factLeadReturned:
		if s[1] > 0 {
			f.err, f.class = errTest, class(s[1])%(classClosed+1)
		}
	case factWon, factRenewed:
		f.grant = b.granted(time.Duration(s[6]) * 100 * time.Millisecond)
		if s[1]&1 == 1 {
			f.grant.TTL = time.Duration(s[1]) * 20 * time.Millisecond
		}
		f.token = o.token + 1 + uint64(s[5]&3)
	case factObserved:
		f.leader = leader{Token: uint64(s[5]), Value: s[5:6]}
	default:
	}
	if f.kind == factWorkReturned && (!o.working || !o.awaited) {
		f.kind = factTick // only what runs can return, and only when it was asked about
	}
	if s[7] > 0 {
		f.seq = uint64(s[7]) % (b.m.seq + 1) // of something that was asked for, at least
	}
	f = b.number(f)
	if f.kind == factWorkReturned && f.seq == b.m.term {
		o.working = false
	}
	if question, answers := questions[f.kind]; answers && !b.m.stale(f) {
		if question != o.call {
			f = fact{kind: factTick} // an answer of one kind to a call of another does not happen
		} else {
			o.calling = false
		}
	}
	from := b.m.phase
	b.do(pass, f)
	checkStep(o.t, factNames[f.kind], from, b.m, b.all)
	o.look()
}

// questions tells which call a fact answers.
var questions = map[factKind]effectKind{
	factWon: effectCampaign, factFailed: effectCampaign, factRenewed: effectRenew, factRenewFailed: effectRenew,
	factProclaimed: effectProclaim, factReleased: effectRelease,
}

// refusals tells which fact answers a call with an error.
var refusals = map[effectKind]factKind{
	effectCampaign: factFailed, effectRenew: factRenewFailed, effectProclaim: factProclaimed, effectRelease: factReleased,
}

func (o *onlooker) look() {
	t := o.t
	for _, e := range o.b.all {
		if o.finished {
			t.Fatalf("effect %s after the end", effectNames[e.kind])
		}
		switch e.kind {
		case effectCampaign, effectRenew, effectProclaim, effectRelease:
			if o.calling {
				t.Fatalf("%s while another call is under way", effectNames[e.kind])
			}
			o.calling, o.call = true, e.kind
			if o.working && (e.kind == effectCampaign || e.kind == effectRelease) {
				t.Fatalf("%s under work that runs", effectNames[e.kind])
			}
		case effectBegin:
			o.working, o.awaited, o.token = true, false, e.token
		case effectAwait:
			o.awaited = true
		case effectPublish:
			if e.event.ends != o.began && e.event.ends+o.began != 0 {
				t.Fatalf("told the end of term %d, announced was %d", e.event.ends, o.began)
			}
			o.began = e.event.term
		case effectReport:
			if e.text == "a fact without a rule" {
				t.Fatal(e.err)
			}
		case effectFinish:
			o.finished = true
			if o.working || o.began != 0 {
				t.Fatal("finished with a term under way")
			}
		default:
		}
	}
}

// end asks the machine to stop, and answers whatever it asks for: it has to come to an end.
func (o *onlooker) end() {
	if o.b.m.phase == phaseIdle {
		return
	}
	for range 40 {
		if o.finished {
			return
		}
		o.b.do(time.Second, fact{kind: factStopAsked, err: errTest})
		o.look()
		if o.calling {
			o.calling = false
			o.b.do(0, fact{kind: refusals[o.call], err: errTest})
			o.look()
		}
		if o.working && o.awaited {
			o.working = false
			o.b.do(0, fact{kind: factWorkReturned})
			o.look()
		}
	}
	o.t.Fatalf("asked to stop, but still %s", phaseNames[o.b.m.phase])
}

// FuzzValue reads what any hand may have written to the store. It must not panic, must give nothing beside
// an error, which is short and printable, and what it accepts must survive being written and read again.
func FuzzValue(f *testing.F) {
	for _, s := range []string{
		"", "x", `"x"`, `{"Addr":"10.0.0.7:2377","N":1}`, `{"N":1e400}`, "null", "[]", "\x00\xff", "https://a/%zz", "http://user:secret@host/",
		"2026-11-21T06:30:53Z", `{"Addr":` + "\"\xff\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		reread(t, b, func(x, y string) bool { return x == y })
		reread(t, b, bytes.Equal)
		reread(t, b, func(x, y fuzzNode) bool { return x == y })
		reread(t, b, func(x, y *fuzzNode) bool { return *x == *y })
		reread(t, b, func(x, y map[string]string) bool { return len(x) == len(y) })
		reread(t, b, func(x, y time.Time) bool { return x.Equal(y) })
		reread(t, b, func(x, y *url.URL) bool { return x.String() == y.String() })
		if v, err := newCodec[string]().decode(b); err != nil || v != string(b) {
			t.Errorf("a string is not its bytes: %q, %v", v, err)
		}
	})
}

type fuzzNode struct {
	Addr string
	N    int
}

// reread decodes b as a T and, if that goes, writes it and reads it again.
func reread[T any](t *testing.T, b []byte, same func(a, b T) bool) {
	c := newCodec[T]()
	v, err := c.decode(b)
	if err != nil {
		checkForeign(t, fmt.Sprintf("%T", v), err)
		return
	}
	out, err := c.encode(v)
	if err != nil {
		return // it can be read and not written: only its own hand could say more
	}
	again, err := c.decode(out)
	if err != nil || !same(v, again) {
		t.Errorf("%T: %q was read as %v, written as %q, and then read as %v, %v", v, b, v, out, again, err)
	}
}
