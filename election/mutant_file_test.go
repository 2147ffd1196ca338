package election

// Which tests are asked about a bug of the file backend: those of the part that it is in.
const (
	fileTerms   = "TestConformance$/(Renew_proves|late_calls|tokens_grow|a_second|several_obs|nested|Close|many_sessions)|TestLeader|TestTouched|TestLeftovers|TestObserver|TestNextToken|TestTokenIs|TestFolderOf|TestResignation|TestCampaignThat"
	fileLapse   = "TestConformanceOfLeases.*/(a_lease)|TestTermThat"
	fileLocks   = "TestLockAlone|TestTokenIs|TestTokensGrow|TestStopped|TestChild|TestKill"
	fileNotices = "TestNoticeThat|TestLostNotice|TestNoMore|TestConformance$/(Observe|an_idle)"
	fileDisk    = "TestWinIsDurable|TestNoWin|TestTheLast|TestGrantsCount|TestFullDisk"
)

// Bugs of the backend of files, for its tests with the real kernel.
var fileMutants = []mutant{
	{
		name: "the grant of a win counts from the record", like: "M1", dir: "backend/file", run: fileDisk, file: "backend/file/campaign.go",
		old: "\tdata, err := rec.encode()", new: "\tsent = backend.Now()\n\tdata, err := rec.encode()",
	},
	{
		name: "the grant of a renewal counts from the proof", like: "M1", dir: "backend/file", run: fileDisk, file: "backend/file/lease.go",
		old: "\tl.ticks = 0\n", new: "\tl.ticks, sent = 0, backend.Now()\n",
	},
	{
		name: "being woken is a win, whoever holds the lock", like: "M2", dir: "backend/file", run: fileLocks, file: "backend/file/campaign.go",
		old: "case !locked:", new: "case !locked && ctx.Err() != nil:",
	},
	{
		name: "a lock on a file that was replaced is waited for", like: "M2", dir: "backend/file", run: fileTerms, file: "backend/file/campaign.go",
		old: "case !current:\n\t\t\tw.close()", new: "case !current && locked:\n\t\t\tw.close()",
	},
	{
		name: "the lock is of the process, not of the descriptor", dir: "backend/file", run: fileTerms, file: "backend/file/system_linux.go",
		old: "err := fcntl(f, unix.F_OFD_SETLK, byteLock(at))", new: "err := fcntl(f, unix.F_SETLK, byteLock(at))",
	},
	{
		name: "children inherit the lock", dir: "backend/file", run: fileLocks, file: "backend/file/system_linux.go",
		old: "func tryLock(f *os.File) (bool, error) { return set(f, 0) }",
		new: "func tryLock(f *os.File) (bool, error) {\n\t_, _ = unix.FcntlInt(f.Fd(), unix.F_SETFD, 0)\n\treturn set(f, 0)\n}",
	},
	{
		name: "a failed candidacy keeps its lock", dir: "backend/file", run: fileDisk, file: "backend/file/campaign.go",
		old: "w.close()\n\t\tb.vacate(c)", new: "b.vacate(c)",
	},
	{
		name: "who waits closes the lock file after each look, and wakes the others", dir: "backend/file", run: fileNotices, file: "backend/file/campaign.go",
		old: "case !locked:\n\t\t\treturn false, nil", new: "case !locked:\n\t\t\tw.close()\n\t\t\treturn false, nil",
	},
	{
		name: "a cancelled Campaign wins", dir: "backend/file", run: fileTerms, file: "backend/file/campaign.go",
		old: "case ctx.Err() != nil:\n\t\t\treturn false, calls.Ended(ctx)\n\t\tdefault:", new: "default:",
	},
	{
		name: "a release takes the lock file with it, whose ever it is", like: "M4", dir: "backend/file", run: fileTerms, file: "backend/file/lease.go",
		old: "\t_ = unlock(l.lock) // or", new: "\t_ = os.Remove(l.b.dir.lock(l.c.key))\n\t_ = unlock(l.lock) // or",
	},
	{
		name: "a deposed term writes its resignation", like: "M4", dir: "backend/file", run: fileTerms, file: "backend/file/lease.go",
		old: "if l.prove() == nil {", new: "if l.prove() == nil || true {",
	},
	{
		name: "the record says who leads, and nobody asks the kernel", like: "M5", dir: "backend/file", run: fileLocks, file: "backend/file/observe.go",
		old: "holds, err := held(f, token)", new: "holds, err := held(f, token)\n\t\tholds = true",
	},
	{
		name: "whoever has locked the key has the last term", like: "M5", dir: "backend/file", run: fileLocks, file: "backend/file/system_linux.go",
		old: "lock := byteLock(token)", new: "lock := byteLock(0)",
	},
	{
		name: "a lock of the whole file is a term", like: "M5", dir: "backend/file", run: fileLocks, file: "backend/file/system_linux.go",
		old: " && lock.Len != 0, err", new: ", err",
	},
	{
		name: "the token is the clock's, whatever came before", like: "M6", dir: "backend/file", run: fileTerms, file: "backend/file/folder.go",
		old: "max(newest+1, uint64(max(now, 1)))", new: "max(1, uint64(max(now, 1)))",
	},
	{
		name: "the token is the folder's, and begins anew with it", like: "M6", dir: "backend/file", run: fileTerms, file: "backend/file/campaign.go",
		old: "next(newest, b.clock().UnixMicro())", new: "next(newest, 0)",
	},
	{
		name: "a torn record counts for no token", like: "M6", dir: "backend/file", run: fileTerms, file: "backend/file/folder.go",
		old: "newest = max(newest, tokenOf(entry.Name()))",
		new: "if rec, _, _, err := d.read(key, tokenOf(entry.Name())); err == nil {\n\t\t\tnewest = max(newest, rec.Token)\n\t\t}",
	},
	{
		name: "two terms take one token", like: "M6", dir: "backend/file", run: fileTerms, file: "backend/file/folder.go",
		old: "os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|openFlags, d.mode)", new: "os.OpenFile(path, os.O_WRONLY|os.O_CREATE|openFlags, d.mode)",
	},
	{
		name: "the last record is removed before the new one is made", like: "M15", dir: "backend/file", run: fileDisk, file: "backend/file/campaign.go",
		old: "\tif err := b.dir.create(key, token, data); err != nil {", new: "\tb.dir.tidy(key, token)\n\tif err := b.dir.create(key, token, data); err != nil {",
	},
	{
		name: "the record is not flushed", like: "M15", dir: "backend/file", run: fileDisk, file: "backend/file/folder.go",
		old: "d.write(d.term(key, token), data, true)", new: "d.write(d.term(key, token), data, false)",
	},
	{
		name: "the record's name is not flushed", like: "M15", dir: "backend/file", run: fileDisk, file: "backend/file/folder.go",
		old: "return syncDir(d.of(key))", new: "return nil",
	},
	{
		name: "the name of the key's folder is not flushed", like: "M15", dir: "backend/file", run: fileDisk, file: "backend/file/folder.go",
		old: "return syncDir(d.path)", new: "return nil",
	},
	{
		name: "a flush that failed is none that matters", like: "M15", dir: "backend/file", run: fileDisk, file: "backend/file/folder.go",
		old: "err = f.Sync()", new: "_ = f.Sync()",
	},
	{
		name: "a renewal proves nothing", like: "M13", dir: "backend/file", run: fileTerms, file: "backend/file/lease.go",
		old: "\tif err := l.check(); err != nil {\n\t\treturn backend.Grant{}, err", new: "\tif l.gone {\n\t\treturn backend.Grant{}, backend.ErrLost",
	},
	{
		name: "a lock file that was replaced proves the term", like: "M13", dir: "backend/file", run: fileTerms, file: "backend/file/lease.go",
		old: "case !current:", new: "case !current && l.gone:",
	},
	{
		name: "a record of the same length proves the term", like: "M13", dir: "backend/file", run: fileTerms, file: "backend/file/lease.go",
		old: " && info.ModTime().Equal(l.dataInfo.ModTime())", new: "",
	},
	{
		name: "any whole record proves the term", like: "M13", dir: "backend/file", run: fileTerms, file: "backend/file/lease.go",
		old: "case !bytes.Equal(data, l.data):", new: "case len(data) == 0:",
	},
	{
		name: "a renewal does not extend", like: "M8", dir: "backend/file", run: fileLapse, file: "backend/file/lease.go",
		old: "\tl.ticks = 0\n", new: "",
	},
	{
		name: "a tick that a renewal overtook counts", like: "M8", dir: "backend/file", run: fileLapse, file: "backend/file/lease.go",
		old: " || round != l.round", new: "",
	},
	{
		name: "a term that nobody renews goes on for ever", dir: "backend/file", run: fileLapse, file: "backend/file/lease.go",
		old: "l.ticks >= lapseTicks", new: "l.ticks < 0",
	},
	{
		name: "a term that nobody renews ends early", dir: "backend/file", run: fileLapse, file: "backend/file/lease.go",
		old: "l.ticks >= lapseTicks", new: "l.ticks >= lapseTicks/2",
	},
	{
		name: "a notice, and no look after it", dir: "backend/file", run: fileNotices, file: "backend/file/watch.go",
		old: "v.again = firstLook", new: "v.again = 0",
	},
	{
		name: "notices, and no look without one", like: "M12", dir: "backend/file", run: fileNotices, file: "backend/file/watch.go",
		old: "\twait := v.b.ttl\n", new: "\twait := time.Hour\n",
	},
	{
		name: "what changed before the notices began is not looked at", dir: "backend/file", run: "TestNoticeThat", file: "backend/file/watch.go",
		old: "continue // what", new: "if _, err := v.next(ctx); err != nil {\n\t\t\t\treturn err\n\t\t\t}\n\t\t\tcontinue // what",
	},
	{
		name: "the death of a holder is not told", dir: "backend/file", run: fileNotices, file: "backend/file/watch_linux.go",
		old: "const watched = unix.IN_CLOSE_WRITE | ", new: "const watched = ",
	},
	{
		name: "a folder that goes takes the waiting with it", dir: "backend/file", run: fileNotices, file: "backend/file/watch.go",
		old: "if !ok {\n\t\t\tv.end()\n\t\t\tv = nil\n\t\t}", new: "_ = ok",
	},
	{
		name: "without notices nobody looks", dir: "backend/file", run: fileNotices, file: "backend/file/watch.go",
		old: "wait = min(wait, pollEvery)", new: "wait = min(wait, v.b.ttl)",
	},
	{
		name: "Wait does not tell of a loss", dir: "backend/file", run: "TestConformance$/Wait", file: "backend/file/lease.go",
		old: "return false, l.check()", new: "return false, nil",
	},
	{
		name: "an observer goes back in time", like: "M18", dir: "backend/file", run: fileTerms, file: "backend/file/observe.go",
		old: "case !leader.Vacant() && leader.Token < o.newest:", new: "case !leader.Vacant() && leader.Token < 1:",
	},
	{
		name: "an observer is not told of a new value", dir: "backend/file", run: fileNotices, file: "backend/file/observe.go",
		old: " && bytes.Equal(leader.Value, o.last.Value):", new: ":",
	},
	{
		name: "two keys share a folder", like: "M17", dir: "backend/file", run: fileTerms, file: "backend/file/folder.go",
		old: "strings.ReplaceAll(key, \"/\", \"+\")", new: "strings.ReplaceAll(key, \"/\", \".\")",
	},
	{
		name: "a folder of another key is used", like: "M17", dir: "backend/file", run: fileTerms, file: "backend/file/campaign.go",
		old: "last.Key != w.c.key", new: "last.Key == \"\"",
	},
	{
		name: "Close is not a no-op the second time", like: "M20", dir: "backend/file", run: fileTerms, file: "backend/file/backend.go",
		old: "\tb.calls.Close(patience.C)\n\treturn nil", new: "\tif !b.calls.Close(patience.C) {\n\t\treturn backend.ErrClosed\n\t}\n\treturn nil",
	},
	{
		name: "a second candidacy is let in", dir: "backend/file", run: fileTerms, file: "backend/file/backend.go",
		old: "if b.standing[key] != nil {", new: "if b.standing == nil {",
	},
}
