package election

// Which tests are asked about a bug of the Redis backend: those of the part that it is in.
const (
	redisTerms  = "TestConformance$/(Renew_proves|late_calls|tokens_grow|a_lease|a_second|several_observers|Resign_hands)|TestEdited|TestAcquireFrom|TestKeyInUse"
	redisGrants = "TestSlowAnswers|TestGrantsOf|TestRenewalsAmong"
	redisLoss   = "TestDataLost|TestObserverOf|TestStandsBack|TestSecondObserver"
	redisLate   = "TestLateAcquire|TestAcquireFrom|TestCampaignThatLeaves|TestHung|TestGivenUp|TestSameName"
	redisWaits  = "TestDeletedIn|TestTold|TestOtherDatabase|TestEvents|TestRenewedIn|TestRenewalsThatCannot|TestCut|TestReleaseBefore|TestMany.*Listen"
	redisAlways = "TestConformance$/(Resign_hands|Wait_|Observe_|a_second|a_closed|a_lease)"
)

// Bugs of the Redis backend, for its tests with the real server.
var redisMutants = []mutant{
	{
		name: "the grant of a win counts from the answer", like: "M1", dir: "backend/rediskv", run: redisGrants, file: "backend/rediskv/write.go",
		old: "outcomes := make([]outcome, len(writings))", new: "sent = backend.Now()\n\toutcomes := make([]outcome, len(writings))",
	},
	{
		name: "the grant of a renewal counts from the answer", like: "M1", dir: "backend/rediskv", run: redisGrants, file: "backend/rediskv/renew.go",
		old: "r.sent, r.err = sent, b.inTime(ctx, err)", new: "_, r.sent, r.err = sent, backend.Now(), b.inTime(ctx, err)",
	},
	{
		name: "a grant counts from a request that was sent after it", like: "M1", dir: "backend/rediskv", run: redisGrants, file: "backend/rediskv/renew.go",
		old: "b.beat.Since(sent) <= 0 && ago <= most", new: "ago <= most",
	},
	{
		name: "a win is granted more than the store was told", like: "M11", dir: "backend/rediskv", run: redisGrants, file: "backend/rediskv/write.go",
		old: "b.holder, number, b.ttl.Milliseconds(),", new: "b.holder, number, b.ttl.Milliseconds()*9/10,",
	},
	{
		name: "a renewal is granted more than the store was told", like: "M11", dir: "backend/rediskv", run: redisGrants, file: "backend/rediskv/renew.go",
		old: "[]any{b.holder, b.ttl.Milliseconds()}", new: "[]any{b.holder, b.ttl.Milliseconds() * 9 / 10}",
	},
	{
		name: "a key that is held is taken", like: "M2", dir: "backend/rediskv", run: redisAlways, file: "backend/rediskv/scripts.go",
		old: "if not mine or (tonumber", new: "if (tonumber",
	},
	{
		name: "a try that is repeated is another term", like: "M7", dir: "backend/rediskv", run: redisLate, file: "backend/rediskv/scripts.go",
		old: "if mine and held[2] == ARGV[2] then", new: "if false then",
	},
	{
		name: "a try that is repeated is granted what it does not extend", like: "M7", dir: "backend/rediskv", run: redisLate, file: "backend/rediskv/scripts.go",
		old: "    redis.call('PEXPIRE', KEYS[1], ARGV[3])\n    return {'won', held[3]}", new: "    return {'won', held[3]}",
	},
	{
		name: "a late try of an earlier candidacy takes the key", like: "M7", dir: "backend/rediskv", run: redisLate, file: "backend/rediskv/scripts.go",
		old: "(tonumber(held[2]) or 0) > tonumber(ARGV[2])", new: "false",
	},
	{
		name: "a win that nobody waits for any more stays", dir: "backend/rediskv", run: redisLate, file: "backend/rediskv/write.go",
		old: "outcomes[i].won && b.isGone(w.c)", new: "outcomes[i].won && w.c == nil",
	},
	{
		name: "a term that was given up is renewed", dir: "backend/rediskv", run: redisLate, file: "backend/rediskv/lease.go",
		old: "if !l.b.isGone(l.c) {", new: "if l.c != nil {",
	},
	{
		name: "sessions of one name are one", like: "M14", dir: "backend/rediskv", run: redisLate, file: "backend/rediskv/backend.go",
		old: "b.holder = b.name + \"/\" + b.holder", new: "b.holder = b.name",
	},
	{
		name: "a release by name", like: "M4", dir: "backend/rediskv", run: redisTerms, file: "backend/rediskv/scripts.go",
		old: "if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then\n  return 0\nend\nlocal crowd", new: "if held[1] ~= ARGV[1] then\n  return 0\nend\nlocal crowd",
	},
	{
		name: "a release of whatever is there", like: "M4", dir: "backend/rediskv", run: redisTerms, file: "backend/rediskv/scripts.go",
		old: "if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then\n  return 0\nend\nlocal crowd", new: "local crowd",
	},
	{
		name: "a renewal by name", like: "M4", dir: "backend/rediskv", run: redisTerms, file: "backend/rediskv/scripts.go",
		old: "if held[1] == ARGV[1] and held[2] == ARGV[2 * i + 1] and held[3] == ARGV[2 * i + 2] then", new: "if held[1] == ARGV[1] then",
	},
	{
		name: "a value is written to another's term", like: "M4", dir: "backend/rediskv", run: redisTerms, file: "backend/rediskv/scripts.go",
		old: "if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] or held[3] ~= ARGV[3] then", new: "if not held[1] then",
	},
	{
		name: "a renewal proves nothing", like: "M13", dir: "backend/rediskv", run: redisTerms, file: "backend/rediskv/lease.go",
		old: "case !r.ours:", new: "case !r.ours && l.b.isGone(l.c):",
	},
	{
		name: "a renewal does not extend", like: "M8", dir: "backend/rediskv", run: redisTerms, file: "backend/rediskv/scripts.go",
		old: "answers[i] = redis.call('PEXPIRE', key, ARGV[2])", new: "answers[i] = 1",
	},
	{
		name: "a record without an expiry", like: "M8", dir: "backend/rediskv", run: redisTerms, file: "backend/rediskv/scripts.go",
		old: "ARGV[7])\nredis.call('PEXPIRE', KEYS[1], ARGV[3])", new: "ARGV[7])",
	},
	{
		name: "who may not have a record expire leaves one for ever", like: "M8", dir: "backend/rediskv", run: "TestRights$", file: "backend/rediskv/scripts.go",
		old: "redis.call('PEXPIRE', KEYS[1], ARGV[3])\nlocal token", new: "local token",
	},
	{
		name: "the counter expires with the record", like: "M6", dir: "backend/rediskv", run: redisTerms, file: "backend/rediskv/scripts.go",
		old: "  redis.call('INCR', KEYS[2])\n", new: "  redis.call('INCR', KEYS[2])\n  redis.call('PEXPIRE', KEYS[2], ARGV[3])\n",
	},
	{
		name: "a release takes the counter with it", like: "M6", dir: "backend/rediskv", run: redisTerms, file: "backend/rediskv/scripts.go",
		old: "redis.call('DEL', KEYS[1])", new: "redis.call('DEL', KEYS[1], KEYS[2])",
	},
	{
		name: "a counter that went back is not noticed", dir: "backend/rediskv", run: redisLoss, file: "backend/rediskv/scripts.go",
		old: "if behind and ARGV[6] ~= '1' then", new: "if false then",
	},
	{
		name: "the counter is not raised above what was seen", dir: "backend/rediskv", run: redisLoss, file: "backend/rediskv/scripts.go",
		old: "  redis.call('SET', KEYS[2], ARGV[5])", new: "  redis.call('INCR', KEYS[2])",
	},
	{
		name: "counters are compared as texts", dir: "backend/rediskv", run: redisLoss, file: "backend/rediskv/scripts.go",
		old: "#fence < #ARGV[4] or (#fence == #ARGV[4] and fence < ARGV[4])", new: "fence < ARGV[4]",
	},
	{
		name: "after a loss nobody stands back", dir: "backend/rediskv", run: redisLoss, file: "backend/rediskv/history.go",
		old: "return h.token, h.behind && h.rest() <= 0", new: "return h.token, h.behind",
	},
	{
		name: "who stands back goes by its own TTL, not by the leader's", dir: "backend/rediskv", run: redisLoss, file: "backend/rediskv/history.go",
		old: "h.ttl = max(h.ttl, ttl)", new: "_ = ttl",
	},
	{
		name: "who waits does not remember whom it waits for", dir: "backend/rediskv", run: redisLoss, file: "backend/rediskv/campaign.go",
		old: "_ = b.remember(key, token, held.ttl)", new: "_ = b.remember(key, 0, held.ttl)",
	},
	{
		name: "a session's next observer goes back in time", like: "M18", dir: "backend/rediskv", run: redisLoss, file: "backend/rediskv/history.go",
		old: "if h.rest() <= 0 {\n\t\treturn nil", new: "if h.behind {\n\t\treturn nil",
	},
	{
		name: "a try that hangs holds up what comes later", dir: "backend/rediskv", run: redisLate, file: "backend/rediskv/write.go",
		old: "case <-enough.C:", new: "case <-make(chan struct{}):",
	},
	{
		name: "a renewal that hangs holds up the next", dir: "backend/rediskv", run: redisLate, file: "backend/rediskv/renew.go",
		old: "case <-enough.C:", new: "case <-make(chan struct{}):",
	},
	{
		name: "messages, and no look without one", like: "M12", dir: "backend/rediskv", run: redisWaits, file: "backend/rediskv/outlook.go",
		old: "return min(left, b.ttl) + time.Millisecond", new: "return time.Hour + min(left, b.ttl) + time.Millisecond",
	},
	{
		name: "messages keep who waits from looking for ever", like: "M12", dir: "backend/rediskv", run: redisWaits, file: "backend/rediskv/outlook.go",
		old: "const lookAnyway = 10", new: "const lookAnyway = 1000",
	},
	{
		name: "a renewal that is told late lengthens the lease", dir: "backend/rediskv", run: redisWaits, file: "backend/rediskv/outlook.go",
		old: "ev.kind == renewed && shifted.Before(ends)", new: "ev.kind == won && shifted.Before(ends)",
	},
	{
		name: "what is told of another database counts", dir: "backend/rediskv", run: redisWaits, file: "backend/rediskv/outlook.go",
		old: "return ev.by == o.holder", new: "return o.holder == \"\" || ev.by != o.holder",
	},
	{
		name: "who cannot tell of a renewal does not renew", dir: "backend/rediskv", run: redisWaits, file: "backend/rediskv/scripts.go",
		old: "redis.pcall('PUBLISH'", new: "redis.call('PUBLISH'",
	},
	{
		name: "a release is not told", dir: "backend/rediskv", run: redisAlways, file: "backend/rediskv/scripts.go",
		old: "redis.call('PUBLISH', ARGV[3], 'released ' .. crowd[2])\n", new: "",
	},
	{
		name: "who waits does not look when it begins to hear", dir: "backend/rediskv", run: redisWaits, file: "backend/rediskv/campaign.go",
		old: "w.begun, w.told = true, false\n\treturn true, err", new: "w.begun, w.told = true, false\n\treturn false, err",
	},
	{
		name: "a release that is told during a look is overlooked", dir: "backend/rediskv", run: redisWaits, file: "backend/rediskv/campaign.go",
		old: "next := w.outlook.seen(held); !w.told {", new: "next := w.outlook.seen(held); next > 0 {",
	},
	{
		name: "a message is the loss of a term", like: "M9", dir: "backend/rediskv", run: redisWaits, file: "backend/rediskv/lease.go",
		old: "!ev.about(l.token) {\n\t\t\t\tv.call()", new: "!ev.about(l.token) {\n\t\t\t\tv.halted = backend.ErrLost\n\t\t\t\tv.call()",
	},
	{
		name: "a connection that broke is the loss of a term", like: "M9", dir: "backend/rediskv", run: redisWaits, file: "backend/rediskv/lease.go",
		old: "func(err error) { tell(l.b.wrap(\"wait\", l.c.key, err)) })", new: "func(error) { tell(backend.ErrLost) })",
	},
	{
		name: "a connection that broke is told to nobody", dir: "backend/rediskv", run: redisWaits, file: "backend/rediskv/events.go",
		old: "\tt.err = err\n\tt.call()", new: "\tt.err = err",
	},
	{
		name: "a connection that went dead without a word is believed", dir: "backend/rediskv", run: redisWaits, file: "backend/rediskv/events.go",
		old: "case waiting:\n\t\treturn 0, errSilent", new: "case waiting:\n\t\treturn l.b.ttl, nil",
	},
	{
		name: "Wait does not hear", dir: "backend/rediskv", run: redisAlways, file: "backend/rediskv/lease.go",
		old: "ev.kind != renewed && !ev.about(l.token)", new: "ev.kind != renewed && ev.token != 0 && !ev.about(l.token)",
	},
	{
		name: "an observer is not told of a new value", dir: "backend/rediskv", run: redisAlways, file: "backend/rediskv/observe.go",
		old: " && bytes.Equal(l.Value, o.leader.Value) {", new: " {",
	},
	{
		name: "a second candidacy is let in", dir: "backend/rediskv", run: redisAlways, file: "backend/rediskv/campaign.go",
		old: "if !c.leads || backend.Now()", new: "if backend.Now()",
	},
	{
		name: "Close is not a no-op the second time", like: "M20", dir: "backend/rediskv", run: redisAlways, file: "backend/rediskv/backend.go",
		old: "if !b.calls.Close(patience.C) {\n\t\treturn nil", new: "if !b.calls.Close(patience.C) {\n\t\treturn ErrDataLost",
	},
}
