// Package file decides elections among the processes of one machine, with nothing but a folder: by kernel lock.
// No server, no network, and no waiting for a crashed leader, whose lock the kernel takes back as it dies.
//
//	b, err := file.New("/var/lib/service/elections")
//
// # Layout
//
// Each key has a folder of its own right below, named as the key with '+' for '/', and in it two small files
// stay for good, by design:
//
//	lock                      locked by the leader; empty; never written to, renamed or deleted by us
//	term-1795245210123456789  the last term: its token in the name, 19 digits
//
// The record is for people too (cat it): a line of JSON that says which key, token, process and since when, and
// whether it leads or has resigned; the value byte for byte; a checksum. Whether the term is held is
// the kernel's to say, and not the record's, which a crash cannot bring up to date. All files are this user's
// alone unless [WithFileMode] says otherwise.
//
// Put the folder on a local disk where nothing is cleaned up by age: below /var/lib, or the user's state folder,
// and not below /tmp. Network file systems are refused ([WithUnsafeNetworkFS]). Processes in containers take
// part if they share the folder itself, by a bind mount; on an overlay each has a folder of its own.
//
// # Who leads
//
// The lock is an open file description lock (fcntl(2)) on the file's first byte, on Linux, and flock(2) on macOS
// and FreeBSD. It is of the descriptor, not of the process: two Backends of one process exclude each
// other, and children do not inherit it, because the descriptor closes on exec. (A child that is forked without exec, as
// C libraries may, would share it.) The first to lock the file after it was freed leads; there is no order.
//
// On Linux any other program that takes an F_OFD_SETLK lock on the whole file keeps our candidates out, and
// they it; it takes no token, and observers see nobody. flock(1) without further options takes a lock of
// another kind there, and is not noticed.
//
// # Tokens
//
// The token of a term is the wall time in microseconds since 1970, or one more than the last term's if that is
// greater. The file that carries it in its name is made by exclusive creation and is on the disk before the win
// is announced: no crash, power cut or torn file takes a token back, and no two terms share one even if the lock
// were of no use. The clock adds what no file can: tokens also grow where the folder was emptied, lay in memory
// over a restart or was restored from a backup, unless the clock was set back as well. A clock that was wrong for
// a while does no harm, because the last token is never gone below.
//
// # Time, and a holder that is stopped
//
// A kernel lock has no time to live. [WithTTL] (15 s) is the holder's own: what election counts its deadlines
// from, and for how long a holder's process runs with a term that nobody renews before it gives it up. A renewal proves
// that the locked file is still the one that others would lock, and that the record is still the term's; it writes
// nothing.
//
// So a holder that crashes is replaced at once, within a few milliseconds. But a holder that is stopped (SIGSTOP,
// a debugger, a frozen cgroup) keeps its lock, and blocks everybody until it is continued or killed. When it goes on,
// it finds its term over by its own clock, steps down, and stands again. Nobody can have led meanwhile, and nobody leads
// before its work has been told and has returned, for which it has a TTL: so no write of it comes late. What other stores
// buy with the token alone, exclusion through a pause, is here the kernel's. The same goes for a machine that sleeps, and
// for one whose clock is set. To free the key, kill the holder. Deleting the lock file deposes it too: the next
// candidate wins, and the old leader is told at once if it runs, but for a moment, or for as long as it is stopped, two
// may believe that they lead, as after deleting a leader's record in any store.
//
// # Waiting
//
// Nothing is polled. On Linux the kernel tells, by inotify, that the last descriptor of a lock was closed, which
// it also does for a process that was killed; it tells just before it takes the lock back, so that a look that was too
// quick is repeated a few times in the next second. There is one look per TTL besides. All waiting calls of
// a Backend share one inotify instance. On macOS and FreeBSD, and where a user has no inotify instances left (128
// by default), calls look five times a second. macOS and FreeBSD are built, not tested; on other systems New fails.
//
// # Rights
//
// A candidate needs to write to the folder, an observer to read it. Whoever may write to it can depose a leader and
// become one; whoever may read a lock file can lock it on macOS and FreeBSD (not on Linux), and keep everybody from leading. Links
// inside of the folder are not followed.
package file
