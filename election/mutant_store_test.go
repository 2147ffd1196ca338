package election

// Bugs of the store in memory.
var memoryMutants = []mutant{
	{
		name: "a renewal counts from its answer", like: "M1", dir: "election", file: "backend/memory/lease.go",
		old: "return backend.Grant{}, l.note(\"renew\", err)\n\t}", new: "return backend.Grant{}, l.note(\"renew\", err)\n\t}\n\tsent = backend.Now()",
	},
	{
		name: "being woken is winning", like: "M2", dir: "backend/memory", file: "backend/memory/campaign.go",
		old: "if won = s.holds(rec, now); won {", new: "if won = true; won {",
	},
	{
		name: "a release by name", like: "M4", dir: "backend/memory", file: "backend/memory/lease.go",
		old: "b.store.remove(rec, now)\n\t\trec.tell()",
		new: "if e := b.store.keys[rec.key]; e != nil && e.holder != nil {\n\t\t\tb.store.remove(e.holder, now)\n\t\t}\n\t\trec.tell()",
	},
	{
		name: "a token twice", like: "M6", dir: "backend/memory", file: "backend/memory/store.go",
		old: "s.token++", new: "s.token = max(s.token, 1)",
	},
	{
		name: "a renewal that proves nothing", like: "M13", dir: "backend/memory", file: "backend/memory/lease.go",
		old: "err := b.callAsHolder(ctx, rec, func(now time.Time) { b.store.arm(rec, now) })",
		new: "err := b.call(ctx, nil, func(now time.Time) { b.store.arm(rec, now) })",
	},
	{
		name: "a renewal that does not extend", like: "M8", dir: "backend/memory", file: "backend/memory/lease.go",
		old: "func(now time.Time) { b.store.arm(rec, now) })", new: "func(time.Time) {})",
	},
	{
		name: "what a failed candidacy left is forgotten", dir: "backend/memory", file: "backend/memory/campaign.go",
		old: "b.leftovers[rec.key] = rec\n", new: "_ = b.leftovers\n",
	},
	{
		name: "a second candidacy is let in", dir: "backend/memory", file: "backend/memory/campaign.go",
		old: "case b.mine[rec.key] != nil:", new: "case b.mine[rec.key] != nil && b.ended:",
	},
	{
		name: "Close is not a no-op the second time", like: "M20", dir: "backend/memory", file: "backend/memory/memory.go",
		old: "if b.ended {\n\t\treturn nil\n\t}\n\tb.ended = true", new: "b.ended = true",
	},
	{
		name: "an observer is not told of a new value", dir: "backend/memory", file: "backend/memory/observe.go",
		old: "if now.Token == last.Token && bytes.Equal(now.Value, last.Value) {", new: "if now.Token == last.Token {",
	},
}

// Which tests are asked about a bug of the etcd backend: those of the part that it is in, so that one is
// noticed within seconds. All of them wait for leases of the real server for minutes.
const (
	etcdRecords = "TestConformance/(Close|nested)|TestGrants|LosesItsRecord|IsNotInherited|LeftoverIsGivenUp|WentBack|TestNested|TestClose|TestSecond|TestWatchOf"
	etcdSharing = "TestRenewals|TestLone|TestQuestion|TestReadThat|TestCancelledRead|TestServerTakes|TestOneRecord|ComeAndGo"
	etcdSurvey  = "TestManyAre|TestASurvey|TestNoSurvey"
	etcdLooks   = "TestSilent|TestLooks"
	etcdStream  = "TestStream|TestThousands|TestWatchThat|TestServerThat|TestToken|TestCandidateKeeps|TestNamespace|TestConformance/told"
)

// Bugs of the etcd backend, for its tests with the real server.
var etcdMutants = []mutant{
	{
		name: "the lease counts from the answer", like: "M1", dir: "backend/etcd", run: etcdRecords, file: "backend/etcd/session.go",
		old: "s.grant = backend.Grant{Sent: sent, TTL: time.Duration(resp.TTL) * time.Second}\n\treturn nil",
		new: "_ = sent\n\ts.grant = backend.Grant{Sent: backend.Now(), TTL: time.Duration(resp.TTL) * time.Second}\n\treturn nil",
	},
	{
		name: "waiting that ended is winning", like: "M2", dir: "backend/etcd", run: etcdRecords, file: "backend/etcd/campaign.go",
		old: "return place{}, w.vanished()", new: "return place{first: true}, nil",
	},
	{
		name: "an event is winning", like: "M2", dir: "backend/etcd", run: etcdRecords, file: "backend/etcd/campaign.go",
		old: "\t\t\tcase w.c.path:\n\t\t\t\tn.gone = true", new: "\t\t\tcase w.c.path:",
	},
	{
		name: "two watches are told of one revision", dir: "backend/etcd", run: etcdRecords, file: "backend/etcd/campaign.go",
		old: "both := ws.open(removals(p.ahead, w.c.path), p.at+1, w.rouse)",
		new: "both := ws.open(removal(w.c.path), p.at+1, w.rouse)\n\t\tw.predecessor = ws.open(removal(p.ahead), p.at+1, w.rouse)",
	},
	{
		name: "a win on a session that nobody kept", dir: "backend/etcd", run: etcdRecords, file: "backend/etcd/campaign.go",
		old: "p.second && b.kept(s)", new: "p.second",
	},
	{
		name: "everybody is second", dir: "backend/etcd", run: etcdRecords, file: "backend/etcd/campaign.go",
		old: "case p.ahead != \"\":\n\t\t\treturn p\n", new: "case p.ahead != \"\":\n",
	},
	{
		name: "the watch of a campaign stays", dir: "backend/etcd", run: etcdRecords, file: "backend/etcd/session.go",
		old: "b.watches.leave(c.watch)", new: "_ = b.watches",
	},
	{
		name: "a release by name", like: "M4", dir: "backend/etcd", run: etcdRecords, file: "backend/etcd/session.go",
		old: "if rev == 0 {\n\t\t\t// The answer", new: "if rev == 0 || true {\n\t\t\t// The answer",
	},
	{
		name: "a renewal proves the session alone", like: "M13", dir: "backend/etcd", run: etcdRecords, file: "backend/etcd/lease.go",
		old: "if _, err := l.prove(ctx); err != nil {\n\t\treturn backend.Grant{}, err\n\t}\n\tif renewed",
		new: "if renewed",
	},
	{
		name: "an old record of the session is inherited", like: "M14", dir: "backend/etcd", run: etcdRecords, file: "backend/etcd/campaign.go",
		old: "case !resp.Succeeded:\n",
		new: "case !resp.Succeeded:\n\t\tif old, err := b.client.Get(patient, c.path); err == nil && len(old.Kvs) == 1 {\n" +
			"\t\t\tc.rev = old.Kvs[0].CreateRevision\n\t\t\treturn place{}, nil\n\t\t}\n",
	},
	{
		name: "keys below are taken for candidates", like: "M17", dir: "backend/etcd", run: etcdRecords, file: "backend/etcd/layout.go",
		old: "if !ok || id == \"\" || len(id) > maxLeaseDigits {\n\t\treturn false\n\t}", new: "if ok {\n\t\treturn true\n\t}",
	},
	{
		name: "observers go back in time", like: "M18", dir: "backend/etcd", run: etcdRecords, file: "backend/etcd/observe.go",
		old: "if kv != nil && kv.CreateRevision < o.newest {", new: "if false {",
	},
	{
		name: "a watch, and no look at the queue", like: "M12", dir: "backend/etcd", run: etcdLooks, file: "backend/etcd/campaign.go",
		old: "silence := time.NewTimer(b.untilLook())", new: "silence := time.NewTimer(time.Hour)",
	},
	{
		name: "Close is not a no-op the second time", like: "M20", dir: "backend/etcd", run: etcdRecords, file: "backend/etcd/backend.go",
		old: "if !b.calls.Close(patience.C) {\n\t\treturn nil\n\t}", new: "if !b.calls.Close(patience.C) {\n\t\treturn backend.ErrClosed\n\t}",
	},
	{
		name: "a leftover's session is renewed for ever", dir: "backend/etcd", run: etcdRecords, file: "backend/etcd/session.go",
		old: "err != nil && now.Since(c.since) >= ttl {", new: "err != nil && now.Since(c.since) >= 1000*ttl {",
	},
	{
		name: "a question joins one that was sent before it", dir: "backend/etcd", run: etcdSharing, file: "backend/internal/flight/rounds.go",
		old: "rs.gathering = nil", new: "_ = r",
	},
	{
		name: "all get the answer of one", dir: "backend/etcd", run: etcdSharing, file: "backend/etcd/ask.go",
		old: "resp.Responses[n].GetResponseRange()", new: "resp.Responses[n*0].GetResponseRange()",
	},
	{
		name: "a read that hangs holds up all that come later", dir: "backend/etcd", run: etcdSharing, file: "backend/etcd/backend.go",
		old: "NewRounds(b.ttl/gatherPart,", new: "NewRounds(b.ttl,",
	},
	{
		name: "who asks alone waits for company", dir: "backend/etcd", run: etcdSharing, file: "backend/internal/flight/rounds.go",
		old: "case rs.air != nil:", new: "case rs.patience > 0:",
	},
	{
		name: "who gathers does not see that the way is free", dir: "backend/etcd", run: etcdSharing, file: "backend/internal/flight/rounds.go",
		old: "case <-r.before:", new: "case <-make(chan struct{}):",
	},
	{
		name: "a full transaction waits", dir: "backend/etcd", run: etcdSharing, file: "backend/internal/flight/rounds.go",
		old: "case <-r.full:", new: "case <-make(chan struct{}):",
	},
	{
		name: "each reads alone", dir: "backend/etcd", run: etcdSharing, file: "backend/etcd/ask.go",
		old: "maxOps = 128", new: "maxOps = 1",
	},
	{
		name: "more reads at once than a server takes", dir: "backend/etcd", run: etcdSharing, file: "backend/etcd/ask.go",
		old: "maxOps = 128", new: "maxOps = 200",
	},
	{
		name: "what one may not read, nobody may", dir: "backend/etcd", run: etcdSharing, file: "backend/etcd/ask.go",
		old: "tooMany || errors.Is(b.classify(err), backend.ErrDenied):", new: "tooMany || errors.Is(b.classify(err), backend.ErrBusy):",
	},
	{
		name: "what a server does not take is asked of it for ever", dir: "backend/etcd", run: etcdSharing, file: "backend/etcd/ask.go",
		old: "max(1, min(b.limit, min(limit, len(some))/2))", new: "max(1, b.limit)",
	},
	{
		name: "a record stands, whoever wrote it", dir: "backend/etcd", run: etcdSharing, file: "backend/etcd/session.go",
		old: "\"=\", c.rev)", new: "\">\", 0)",
	},
	{
		name: "what was not read is taken for gone", dir: "backend/etcd", run: etcdSharing, file: "backend/etcd/ask.go",
		old: "case len(others) > 0:", new: "case len(others) > 0 && ctx.Err() != nil:",
	},
	{
		name: "a survey does not count what is there", dir: "backend/etcd", run: etcdSurvey, file: "backend/etcd/survey.go",
		old: "now.keys-created == s.keys", new: "created >= 0",
	},
	{
		name: "a survey takes what it brings for all that is new", dir: "backend/etcd", run: etcdSurvey, file: "backend/etcd/survey.go",
		old: "!news.More && ", new: "",
	},
	{
		name: "a survey answers for what was not there before", dir: "backend/etcd", run: etcdSurvey, file: "backend/etcd/survey.go",
		old: "c.rev <= s.at && ", new: "",
	},
	{
		name: "a survey answers for what nobody saw", dir: "backend/etcd", run: etcdSurvey, file: "backend/etcd/survey.go",
		old: " && c.stood >= s.at", new: "",
	},
	{
		name: "a survey goes by one of another range", dir: "backend/etcd", run: etcdSurvey, file: "backend/etcd/survey.go",
		old: "before.at > 0 && before.Range == now.Range", new: "before.at > 0",
	},
	{
		name: "surveys are made though they prove nothing", dir: "backend/etcd", run: etcdSurvey, file: "backend/etcd/survey.go",
		old: "b.surveys.Made(proved)", new: "b.surveys.Made(proved || true)",
	},
	{
		name: "renewals keep two rhythms", dir: "backend/etcd", run: etcdSharing, file: "backend/etcd/session.go",
		old: "< s.grant.TTL/5 }", new: "< s.grant.TTL/6 }",
	},
	{
		name: "everyone looks at a time of its own", dir: "backend/etcd", run: etcdLooks, file: "backend/etcd/watch.go",
		old: "return b.ttl - time.Since(b.born)%b.ttl", new: "return b.ttl",
	},
	{
		name: "an observer takes silence for sameness", dir: "backend/etcd", run: etcdLooks, file: "backend/etcd/observe.go",
		old: "if kv.GetModRevision() != o.leader.mod || kv == nil && queue.found.More {", new: "if kv == nil && queue.found.More {",
	},
	{
		name: "all processes look at once", dir: "backend/etcd", run: etcdLooks, file: "backend/etcd/backend.go",
		old: "Add(-rand.N(b.ttl))", new: "Add(-0 * rand.N(b.ttl))",
	},
	{
		name: "a stream goes on one revision too late", dir: "backend/etcd", run: etcdStream, file: "backend/etcd/stream.go",
		old: "Kv.ModRevision + 1\n", new: "Kv.ModRevision + 2\n",
	},
	{
		name: "a stream begins again where it began", dir: "backend/etcd", run: etcdStream, file: "backend/etcd/stream.go",
		old: "w.next = resp.Events[n-1].Kv.ModRevision + 1", new: "_ = n",
	},
	{
		name: "the answer to one watch is taken for another's", dir: "backend/etcd", run: etcdStream, file: "backend/etcd/stream.go",
		old: "l, w := s.line, s.asked[0]\n\ts.asked = s.asked[1:]",
		new: "last := len(s.asked) - 1\n\tl, w := s.line, s.asked[last]\n\ts.asked = s.asked[:last]",
	},
	{
		name: "a stream that is gone is kept from those who rely on it", dir: "backend/etcd", run: etcdStream, file: "backend/etcd/stream.go",
		old: "} else {\n\t\t\tl.end(w, err)", new: "} else {\n\t\t\tdelete(l.all, w)",
	},
	{
		name: "a watch that is never answered is waited for", dir: "backend/etcd", run: etcdStream, file: "backend/etcd/stream.go",
		old: "len(s.asked) == 1 {\n\t\t\ts.overdue.Reset(ws.bound)", new: "len(s.asked) == 1 {\n\t\t\ts.overdue.Stop()",
	},
	{
		name: "whoever numbers watches itself is taken for etcd", dir: "backend/etcd", run: etcdStream, file: "backend/etcd/stream.go",
		old: "s.swift = resp.WatchId == w.wanted", new: "s.swift = true",
	},
	{
		name: "a token is kept for as long as the stream", dir: "backend/etcd", run: etcdStream, file: "backend/etcd/stream.go",
		old: "case resp.Canceled && l.ws.stale(", new: "case resp.Canceled && !on && l.ws.stale(",
	},
	{
		name: "the stream outlives its last watch", dir: "backend/etcd", run: etcdStream, file: "backend/etcd/stream.go",
		old: "\tl.cancel()\n\treturn l.done", new: "\treturn nil",
	},
	{
		name: "stop does not wait for what is being told", dir: "backend/etcd", run: etcdStream, file: "backend/internal/calls/vigil.go",
		old: "v.errand.Stop()", new: "v.errand.Retire()",
	},
	{
		name: "a namespace is stepped out of", dir: "backend/etcd", run: etcdStream, file: "backend/etcd/apart.go",
		old: "return reflect.TypeOf(ws.client.Watcher) != ownWatcher ||", new: "return reflect.TypeOf(ws.client.Watcher) == nil ||",
	},
	{
		name: "a break of the stream costs the place in the queue", dir: "backend/etcd", run: etcdStream, file: "backend/etcd/campaign.go",
		old: "case err != nil && b.final(err):", new: "case err != nil:",
	},
	{
		name: "a look that fails costs the place in the queue", dir: "backend/etcd", run: etcdStream, file: "backend/etcd/campaign.go",
		old: "if err != nil && ctx.Err() == nil && !b.final(err) && !errors.Is(err, errRecordGone) {", new: "if false {",
	},
}
