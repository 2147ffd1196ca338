package election

// Which tests are asked about a bug of the ZooKeeper backend: those of the part that it is in.
const (
	zooGrants  = "TestAPromise|TestATick|TestTheWire|TestARhythm|TestAGrantGoes|TestSlowAnswers|TestWhichGrant|TestWhatAProof|TestTheShortest"
	zooTerms   = "TestConformance/(Renew_proves|late_calls|tokens_grow|a_lease|after_a_crash|a_second|several_observers|Resign_may|a_Campaign|Close|a_grant)"
	zooQueue   = "TestAHandover|TestAnElectionIsShared|TestStrangers|TestSequence|TestTheQueue|TestTokensGrow|TestWhatEvents|TestAReconnection|TestALook|TestNobodyWins"
	zooSession = "TestTheEndOf|TestASessionThat|TestAClient|TestATermOutlives|TestATermThatNobody|TestASessionIsNot"
	zooLost    = "TestANodeWhose|TestANodeThat|TestNoTwoCandidacies"
	zooProofs  = "TestRenewalsAreProved|TestATermThatMayNot|TestWhoIsNext|TestAWinDoesNot|TestARenewalWakes"
	zooWatches = "TestAWatchThat|TestANewConnection|TestAnOutage|TestAnObserver|TestAStop|TestConformance/(Observe|Wait)"
	zooCutOff  = "TestATermIsOverBefore"
)

// Bugs of the ZooKeeper backend, for its tests with the real server.
var zookeeperMutants = []mutant{
	{
		name: "a proof counts from its answer", like: "M1", dir: "backend/zookeeper", run: zooGrants, file: "backend/zookeeper/prove.go",
		old: "\t\tif err == nil {\n\t\t\ts.earned(grant)", new: "\t\tif err == nil {\n\t\t\tgrant = s.promise(backend.Now())\n\t\t\tfor _, p := range proofs {\n\t\t\t\tp.grant = grant\n\t\t\t}\n\t\t\ts.earned(grant)",
	},
	{
		name: "the creation of a node counts from its answer", like: "M1", dir: "backend/zookeeper", run: zooGrants, file: "backend/zookeeper/campaign.go",
		old: "\t\t\ts.earned(grant)", new: "\t\t\ts.earned(backend.Grant{Sent: backend.Now(), TTL: grant.TTL})",
	},
	{
		name: "a write is worth the whole session timeout", dir: "backend/zookeeper", run: zooGrants, file: "backend/zookeeper/session.go",
		old: "TTL: s.timeout - now.Since(s.history.at(now))", new: "TTL: s.timeout",
	},
	{
		name: "a read is a proof", like: "M9", dir: "backend/zookeeper", run: zooCutOff, file: "backend/zookeeper/prove.go",
		old: "\t\tanswers, err := conn.Multi(ops...)\n",
		new: "\t\tvar answers []zk.MultiResponse\n\t\tvar err error\n\t\tfor _, p := range proofs {\n\t\t\tthere, _, failed := conn.Exists(p.node)\n\t\t\tif failed == nil && !there {\n\t\t\t\tfailed = zk.ErrNoNode\n\t\t\t}\n\t\t\tif failed != nil {\n\t\t\t\terr = failed\n\t\t\t}\n\t\t}\n",
	},
	{
		name: "what was answered counts at once", dir: "backend/zookeeper", run: zooGrants, file: "backend/zookeeper/touch.go",
		old: "now.Skew(t.answered) < ts.tick {", new: "now.Skew(t.answered) < 0 {",
	},
	{
		name: "what was answered counts from the answer", like: "M1", dir: "backend/zookeeper", run: zooGrants, file: "backend/zookeeper/touch.go",
		old: "ts.ripe = t.sent", new: "ts.ripe = t.answered",
	},
	{
		name: "a request counts from its answer", like: "M1", dir: "backend/zookeeper", run: zooGrants, file: "backend/zookeeper/request.go",
		old: "s.touch(sent, backend.Now())", new: "s.touch(backend.Now(), backend.Now())",
	},
	{
		name: "a ping counts from its answer", like: "M1", dir: "backend/zookeeper", run: zooGrants, file: "backend/zookeeper/wire.go",
		old: "w.s.touch(w.pings[0], now)", new: "w.s.touch(now, now)",
	},
	{
		name: "a greeting counts from its answer", like: "M1", dir: "backend/zookeeper", run: zooGrants, file: "backend/zookeeper/wire.go",
		old: "w.s.greeted(w.hello,", new: "w.s.greeted(now,",
	},
	{
		name: "a clock that was set forward makes answers old", like: "M10", dir: "backend/zookeeper", run: zooGrants, file: "backend/zookeeper/touch.go",
		old: "now.Since(t.answered)-now.Skew(t.answered)", new: "now.Since(t.answered)",
	},
	{
		name: "a grant goes by what was asked for", like: "M11", dir: "backend/zookeeper", run: zooGrants, file: "backend/zookeeper/session.go",
		old: "\t\ts.timeout = timeout\n", new: "\t\ts.timeout = s.b.ttl\n",
	},
	{
		name: "a grant goes by the longest timeout that was granted", like: "M11", dir: "backend/zookeeper", run: zooGrants, file: "backend/zookeeper/session.go",
		old: "timeout < s.timeout", new: "timeout > s.timeout",
	},
	{
		name: "a proof that is worth next to nothing is handed out", dir: "backend/zookeeper", run: zooGrants, file: "backend/zookeeper/prove.go",
		old: "p.grant.TTL < s.ttl()/MinTicks", new: "p.grant.TTL < 0",
	},
	{
		name: "a rhythm promises more than the proof", dir: "backend/zookeeper", run: zooGrants, file: "backend/zookeeper/prove.go",
		old: " && earlier >= 0", new: " && earlier >= -s.ttl()",
	},
	{
		name: "a win goes by any grant", dir: "backend/zookeeper", run: zooGrants, file: "backend/zookeeper/standby.go",
		old: "now.Since(s.latest.Sent) < s.timeout/freshPart && ", new: "",
	},
	{
		name: "being woken is winning", like: "M2", dir: "backend/zookeeper", run: zooQueue, file: "backend/zookeeper/campaign.go",
		old: "\t\tat, err = w.look(ctx)\n\t}", new: "\t\tat = place{}\n\t}",
	},
	{
		name: "everybody is second", like: "M2", dir: "backend/zookeeper", run: zooQueue, file: "backend/zookeeper/campaign.go",
		old: "case at.second && learned == hasLeftUs:", new: "case learned == hasLeftUs:",
	},
	{
		name: "the end of the one before is a win, seen on whichever connection", like: "M2", dir: "backend/zookeeper", run: zooQueue, file: "backend/zookeeper/follow.go",
		old: "case n.left && s.wire == seen:", new: "case n.left:",
	},
	{
		name: "the end of the own node does not matter", like: "M2", dir: "backend/zookeeper", run: zooQueue, file: "backend/zookeeper/follow.go",
		old: "\tdefault:\n\t\tn.differ = true", new: "\tdefault:\n\t\tn.differ = e != &n.own",
	},
	{
		name: "a look that failed is an empty queue", like: "M2", dir: "backend/zookeeper", run: zooQueue, file: "backend/zookeeper/campaign.go",
		old: "names, err := w.b.children(ctx, c.session, c.key)\n\tif err != nil {\n\t\treturn place{}, err", new: "names, err := w.b.children(ctx, c.session, c.key)\n\tif err != nil {\n\t\treturn place{}, nil",
	},
	{
		name: "a win on a session that is given up", dir: "backend/zookeeper", run: zooQueue, file: "backend/zookeeper/campaign.go",
		old: "if s.over || s.doomed {\n\t\treturn errSessionLost", new: "if s.over {\n\t\treturn errSessionLost",
	},
	{
		name: "greetings that are ignored keep a session alive on which nothing is granted", dir: "backend/zookeeper", run: "TestASessionWhose", file: "backend/zookeeper/candidacy.go",
		old: "if c.leads && b.granted(s) <= 0 && s.unheard(b.bound/2) {", new: "if false {",
	},
	{
		name: "a session whose greetings are ignored ends under a grant", dir: "backend/zookeeper", run: "TestASessionWhose", file: "backend/zookeeper/candidacy.go",
		old: "if c.leads && b.granted(s) <= 0 && s.unheard(b.bound/2) {", new: "if c.leads && s.unheard(b.bound / 2) {\n\t\t\tb.end(s)",
	},
	{
		name: "greetings that are ignored end a session for who stops waiting", dir: "backend/zookeeper", run: "TestASessionWhose", file: "backend/zookeeper/candidacy.go",
		old: "if c.leads && b.granted(s) <= 0 && s.unheard(b.bound/2) {", new: "if b.granted(s) <= 0 && s.unheard(b.bound/2) {",
	},
	{
		name: "the token is the sequence number", like: "M6", dir: "backend/zookeeper", run: zooQueue, file: "backend/zookeeper/campaign.go",
		old: "\tw.c.token = stat.Czxid\n", new: "\t_, _ = fmt.Sscanf(node[len(node)-numberLen:], \"%d\", &w.c.token)\n\tw.c.token++\n",
	},
	{
		name: "observers see the token of the last write", like: "M6", dir: "backend/zookeeper", run: zooWatches, file: "backend/zookeeper/observe.go",
		old: "Token: uint64(stat.Czxid)}", new: "Token: uint64(stat.Mzxid)}",
	},
	{
		name: "sequence numbers may run over", dir: "backend/zookeeper", run: zooQueue, file: "backend/zookeeper/layout.go",
		old: "if strings.HasPrefix(n, \"-\") {", new: "if n == \"\" {",
	},
	{
		name: "nodes below are taken for candidates", like: "M17", dir: "backend/zookeeper", run: zooQueue, file: "backend/zookeeper/layout.go",
		old: "if len(n) < numberLen || len(n) > numberLen+1 || strings.Trim(digits, \"0123456789\") != \"\" {", new: "if digits == \"\" {",
	},
	{
		name: "a node that does not go with its session", dir: "backend/zookeeper", run: zooTerms, file: "backend/zookeeper/campaign.go",
		old: "zk.FlagEphemeralSequential", new: "zk.FlagSequence",
	},
	{
		name: "a renewal proves the session alone", like: "M13", dir: "backend/zookeeper", run: zooTerms, file: "backend/zookeeper/prove.go",
		old: "Path: p.node, Version", new: "Path: \"/\", Version",
	},
	{
		name: "a renewal does not extend", like: "M8", dir: "backend/zookeeper", run: zooTerms, file: "backend/zookeeper/lease.go",
		old: "\tc.grant = c.session.inStep(c, grant, c.session.ttl()/stepPart)\n\treturn c.grant, nil", new: "\treturn c.session.inStep(c, grant, c.session.ttl()/stepPart), nil",
	},
	{
		name: "who withdraws leaves a node behind", dir: "backend/zookeeper", run: zooTerms, file: "backend/zookeeper/campaign.go",
		old: "_ = b.remove(ctx, c)\n\tb.settle(s)", new: "b.settle(s)",
	},
	{
		name: "a node that may be there is forgotten", dir: "backend/zookeeper", run: zooLost, file: "backend/zookeeper/candidacy.go",
		old: "if path == \"\" {\n\t\tif", new: "if path != \"\" {\n\t\tif",
	},
	{
		name: "a node that may be there is looked for by what all are called", like: "M4", dir: "backend/zookeeper", run: zooLost, file: "backend/zookeeper/layout.go",
		old: "return strings.HasPrefix(name, prefix(id))", new: "return strings.HasPrefix(name, \"_c_\") && id != \"\"",
	},
	{
		name: "all candidates have one identity", like: "M14", dir: "backend/zookeeper", run: zooLost, file: "backend/zookeeper/candidacy.go",
		old: "_, _ = rand.Read(id[:])", new: "_, _ = rand.Read(id[:0])",
	},
	{
		name: "a term that nobody renews lives with its session", dir: "backend/zookeeper", run: zooSession, file: "backend/zookeeper/candidacy.go",
		old: "return c.leads && !c.gone && now.Since(c.grant.Sent) >= c.session.ttl()", new: "return c.leads && !c.gone && now.Since(c.grant.Sent) >= 1000*c.session.ttl()",
	},
	{
		name: "a leftover's session is renewed for ever", dir: "backend/zookeeper", run: zooSession, file: "backend/zookeeper/candidacy.go",
		old: "backend.Now().Since(c.since) >= s.ttl()) {", new: "backend.Now().Since(c.since) >= 1000*s.ttl()) {",
	},
	{
		name: "a session is given up under a grant", dir: "backend/zookeeper", run: zooSession, file: "backend/zookeeper/candidacy.go",
		old: "if left := b.granted(s); left > 0 && !s.over {", new: "if left > 1000*s.ttl() && !s.over {",
	},
	{
		name: "the loss of the connection is the loss of the session", like: "M9", dir: "backend/zookeeper", run: zooSession, file: "backend/zookeeper/session.go",
		old: "\tcase zk.StateDisconnected:\n", new: "\tcase zk.StateDisconnected:\n\t\ts.b.mu.Lock()\n\t\ts.b.bury(s)\n\t\ts.b.mu.Unlock()\n",
	},
	{
		name: "the end of a session is told to nobody", dir: "backend/zookeeper", run: zooSession, file: "backend/zookeeper/session.go",
		old: "\tcase zk.StateExpired:\n\t\ts.b.mu.Lock()\n\t\ts.b.bury(s)", new: "\tcase zk.StateExpired:\n\t\ts.b.mu.Lock()",
	},
	{
		name: "the client goes on with another session", dir: "backend/zookeeper", run: zooSession, file: "backend/zookeeper/session.go",
		old: "\ts.sealed = true\n", new: "",
	},
	{
		name: "terms pay for the end of one", dir: "backend/zookeeper", run: zooProofs, file: "backend/zookeeper/prove.go",
		old: "if len(proofs) == 1 || !errors.Is(err, zk.ErrNoNode) && !errors.Is(err, zk.ErrNoAuth) {", new: "if len(proofs) >= 1 {",
	},
	{
		name: "a transaction holds more proofs than a server takes", dir: "backend/zookeeper", run: zooProofs, file: "backend/zookeeper/prove.go",
		old: "maxChecks = 100", new: "maxChecks = 1000",
	},
	{
		name: "who is next has no grant at hand", dir: "backend/zookeeper", run: zooProofs, file: "backend/zookeeper/follow.go",
		old: "if n.next && !n.crowd {\n\t\tb.standBy(w.c)", new: "if n.next && n.crowd {\n\t\tb.standBy(w.c)",
	},
	{
		name: "a renewal wakes all who watch", dir: "backend/zookeeper", run: zooProofs, file: "backend/zookeeper/prove.go",
		old: "&zk.CheckVersionRequest{Path: p.node, Version: -1}", new: "&zk.SetDataRequest{Path: p.node, Version: -1}",
	},
	{
		name: "watches, and no look without an event", like: "M12", dir: "backend/zookeeper", run: zooWatches, file: "backend/zookeeper/vigil.go",
		old: "const lookAfter = 4", new: "const lookAfter = 4000",
	},
	{
		name: "an observer does not read again after a new connection", dir: "backend/zookeeper", run: zooWatches, file: "backend/zookeeper/vigil.go",
		old: "if kind != zk.EventSession || v.silence != nil {", new: "if kind != zk.EventSession {",
	},
	{
		name: "answers on a new connection do not wait for the watches", dir: "backend/zookeeper", run: "TestTheFirstAnswer", file: "backend/zookeeper/wire.go",
		old: "if !w.s.mayWatch() {", new: "if w.s != nil {",
	},
	{
		name: "an outage is told to nobody who waits", dir: "backend/zookeeper", run: zooWatches, file: "backend/zookeeper/session.go",
		old: "s.outage.Reset(s.b.ttl / 3)", new: "s.outage.Reset(100 * s.b.ttl)",
	},
	{
		name: "an observer goes back in time", like: "M18", dir: "backend/zookeeper", run: zooWatches, file: "backend/zookeeper/observe.go",
		old: "stat.Czxid < o.newest {", new: "stat.Czxid < 0 {",
	},
	{
		name: "an observer is not told of a new value", dir: "backend/zookeeper", run: zooWatches, file: "backend/zookeeper/observe.go",
		old: "stat.Czxid == o.token && stat.Mzxid == o.edit {", new: "stat.Czxid == o.token {",
	},
	{
		name: "stop does not wait for what is being told", dir: "backend/zookeeper", run: zooWatches, file: "backend/internal/calls/vigil.go",
		old: "v.errand.Stop()\n", new: "v.errand.Retire()\n",
	},
	{
		name: "Close is not a no-op the second time", like: "M20", dir: "backend/zookeeper", run: zooTerms, file: "backend/zookeeper/backend.go",
		old: "if !b.calls.Close(patience.C) {\n\t\treturn nil", new: "if !b.calls.Close(patience.C) {\n\t\treturn errSessionLost",
	},
}
