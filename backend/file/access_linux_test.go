package file_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/file"
	"github.com/hustings-go/hustings/retry"
)

func TestNewRefuses(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	must(t, os.WriteFile(plain, nil, 0o600))
	for _, tc := range []struct {
		name string
		dir  string
		opt  file.Option
		want string
	}{
		{"an empty path", "", file.Option{}, "empty"},
		{"a file", plain, file.Option{}, "is not a folder"},
		{"a path below a file", filepath.Join(plain, "x"), file.Option{}, "not a directory"},
		{"no TTL", t.TempDir(), file.WithTTL(0), "0s, must be from 1s to 24h"},
		{"a negative TTL", t.TempDir(), file.WithTTL(-time.Second), "-1s, must be from 1s to 24h"},
		{"a short TTL", t.TempDir(), file.WithTTL(999 * time.Millisecond), "999ms, must be from 1s to 24h"},
		{"a long TTL", t.TempDir(), file.WithTTL(25 * time.Hour), "25h0m0s, must be from 1s to 24h"},
		{"a long name", t.TempDir(), file.WithName(strings.Repeat("n", 256)), "256 bytes, at most 255"},
		{"a name that is not UTF-8", t.TempDir(), file.WithName("\xff"), "UTF-8"},
		{"a mode that is none", t.TempDir(), file.WithFileMode(fs.ModeDir | 0o700), "at least 0600"},
		{"a mode without the owner", t.TempDir(), file.WithFileMode(0o460), "0460, must be permissions with at least 0600"},
	} {
		b, err := file.New(tc.dir, tc.opt)
		if b != nil || !retry.IsPermanent(err) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want a permanent error with %q", tc.name, err, tc.want)
		}
	}
}

func TestNetworkFileSystems(t *testing.T) {
	for magic, network := range map[uint32]bool{
		unix.NFS_SUPER_MAGIC: true, unix.CIFS_SUPER_MAGIC: true, unix.SMB2_SUPER_MAGIC: true, unix.V9FS_MAGIC: true, unix.FUSE_SUPER_MAGIC: true,
		unix.CEPH_SUPER_MAGIC: true, unix.EXT4_SUPER_MAGIC: false, unix.XFS_SUPER_MAGIC: false, unix.BTRFS_SUPER_MAGIC: false, unix.TMPFS_MAGIC: false,
		unix.OVERLAYFS_SUPER_MAGIC: false,
	} {
		if got := file.NetworkFS(magic); (got != "") != network {
			t.Errorf("%#x: %q, is of a network: %t", magic, got, network)
		}
	}
}

// Permissions are what was asked for, whatever the umask: alone by default.
func TestPermissions(t *testing.T) {
	old := unix.Umask(0o077) // of the process: no other test runs
	defer unix.Umask(old)
	for mode, want := range map[fs.FileMode]string{0o600: "700 600", 0o660: "770 660", 0o644: "755 644"} {
		dir := filepath.Join(t.TempDir(), "made")
		b := open(t, dir, file.WithFileMode(mode))
		l := win(t, b, "a/b", "value")
		must(t, l.Proclaim(within(t), []byte("new")))
		for _, path := range []string{filepath.Join(dir, "a+b"), filepath.Join(dir, "a+b", "lock"), recordPath(t, dir, "a+b")} {
			info, err := os.Stat(path)
			must(t, err)
			if got := fmt.Sprintf("%o", info.Mode().Perm()); !strings.Contains(want, got) {
				t.Errorf("%s has mode %s, want %s", path, got, want)
			}
		}
		resign(t, l)
	}
}

// Links and other things in the place of our files are refused, and not touched, waited for or followed.
func TestForeignFiles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		plant func(t testing.TB, dir, elsewhere string)
	}{
		{"the key's folder is a link", func(t testing.TB, dir, elsewhere string) { must(t, os.Symlink(elsewhere, filepath.Join(dir, "key"))) }},
		{"the key's folder is a file", func(t testing.TB, dir, _ string) { must(t, os.WriteFile(filepath.Join(dir, "key"), nil, 0o600)) }},
		{"the lock is a link", func(t testing.TB, dir, elsewhere string) {
			must(t, os.Mkdir(filepath.Join(dir, "key"), 0o700))
			must(t, os.Symlink(filepath.Join(elsewhere, "target"), filepath.Join(dir, "key", "lock")))
		}},
		{"the lock is a link to a lock", func(t testing.TB, dir, _ string) {
			resign(t, win(t, open(t, dir), "other", "x"))
			must(t, os.Mkdir(filepath.Join(dir, "key"), 0o700))
			must(t, os.Symlink(filepath.Join(dir, "other", "lock"), filepath.Join(dir, "key", "lock")))
		}},
		{"the lock is a folder", func(t testing.TB, dir, _ string) { must(t, os.MkdirAll(filepath.Join(dir, "key", "lock"), 0o700)) }},
		{"the lock is a pipe", func(t testing.TB, dir, _ string) {
			must(t, os.Mkdir(filepath.Join(dir, "key"), 0o700))
			must(t, unix.Mkfifo(filepath.Join(dir, "key", "lock"), 0o600))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, elsewhere := t.TempDir(), t.TempDir()
			tc.plant(t, dir, elsewhere)
			_, err := open(t, dir).Campaign(within(t), "key", nil)
			if !retry.IsPermanent(err) {
				t.Errorf("Campaign: %v, want a permanent error", err)
			}
			if left := files(t, elsewhere, "."); len(left) != 0 {
				t.Errorf("elsewhere there is %q now", left)
			}
		})
	}
}

// An observer does not wait for a pipe to be written to.
func TestPipeInPlaceOfARecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "key"), 0o700))
	must(t, unix.Mkfifo(filepath.Join(dir, "key", "term-0000000000000000001"), 0o600))
	for _, err := range open(t, dir).Observe(within(t), "key") {
		if !retry.IsPermanent(err) {
			t.Errorf("Observe: %v, want a permanent error", err)
		}
	}
}

// Another key's folder, as where file names do not tell upper from lower case.
func TestFolderOfAnotherKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	resign(t, win(t, b, "Key", "x"))
	must(t, os.Rename(filepath.Join(dir, "Key"), filepath.Join(dir, "key")))
	_, err := b.Campaign(within(t), "key", nil)
	if !retry.IsPermanent(err) || !strings.Contains(err.Error(), `in use by the key "Key"`) {
		t.Errorf("Campaign: %v, want a permanent error that names the other key", err)
	}
}

// asNobody runs do without the right to write to what root made, if the test is root, and otherwise as it is.
func asNobody(t testing.TB, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		do()
		return
	}
	const nobody = 65534
	runtime.LockOSThread() // file rights are of the thread
	defer runtime.UnlockOSThread()
	must(t, unix.Setfsuid(nobody))
	defer func() { must(t, unix.Setfsuid(0)) }()
	do()
}

// Who may only read can observe, and is refused as a candidate in a way that an election understands.
func TestReadOnlyFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	shared := file.WithFileMode(0o644)
	leader := win(t, open(t, dir, shared), "held", "leader")
	free := filepath.Join(dir, "free")
	must(t, os.Mkdir(free, 0o555))
	for _, path := range []string{dir, filepath.Join(dir, "held")} {
		must(t, os.Chmod(path, 0o555))
		t.Cleanup(func() { _ = os.Chmod(path, 0o700) })
	}
	b := open(t, dir)
	asNobody(t, func() {
		for _, key := range []string{"held", "free", "new"} {
			if key == "held" && os.Geteuid() != 0 {
				continue // the owner may write to files of a folder that is read-only
			}
			_, err := b.Campaign(within(t), key, nil)
			mustBe(t, "Campaign for "+key, err, backend.ErrDenied)
		}
		for seen, err := range b.Observe(within(t), "held") {
			if err != nil || seen.Token != leader.Token() || string(seen.Value) != "leader" {
				t.Errorf("observed %+v, error %v", seen, err)
			}
			break
		}
		for seen, err := range b.Observe(within(t), "new") {
			if err != nil || !seen.Vacant() {
				t.Errorf("observed %+v, error %v", seen, err)
			}
			break
		}
	})
	for _, path := range []string{dir, filepath.Join(dir, "held")} {
		must(t, os.Chmod(path, 0o700))
	}
	resign(t, leader)
	// What is not even readable is refused to observers too.
	must(t, os.Chmod(filepath.Join(dir, "held"), 0o000))
	asNobody(t, func() {
		for _, err := range b.Observe(within(t), "held") {
			mustBe(t, "Observe", err, backend.ErrDenied)
			break
		}
	})
}

// fails checks what must be so when the disk is full: errors pass, a term outlives them, and its key can be
// given up and won again.
func fails(t testing.TB, dir string, tooMuch []byte) {
	t.Helper()
	b := open(t, dir)
	_, err := b.Campaign(within(t), "key", tooMuch)
	mustPass(t, "Campaign", err)
	if left := files(t, dir, "key"); len(left) != 1 {
		t.Errorf("a failed Campaign left %q", left)
	}
	l := win(t, b, "key", "small")
	mustPass(t, "Proclaim", l.Proclaim(within(t), tooMuch))
	if _, err := l.Renew(within(t)); err != nil {
		t.Errorf("Renew: %v", err)
	}
	for seen, err := range b.Observe(within(t), "key") {
		if err != nil || string(seen.Value) != "small" || seen.Token != l.Token() {
			t.Errorf("observed %+v, error %v", seen, err)
		}
		break
	}
	resign(t, l)
	if left := files(t, dir, "key"); len(left) != 2 {
		t.Errorf("%q are left", left)
	}
}

// A disk that is full.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	fails(t, dir, make([]byte, 128<<10))
}

// A leader whose rights are taken away keeps its lock. It is told of trouble, not of a loss, goes on when the rights are back, and can
// give the key up without them.
func TestRightsTakenWhileLeading(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, os.Chmod(dir, 0o755))
	l := win(t, open(t, dir), "key", "leader")
	key := filepath.Join(dir, "key")
	t.Cleanup(func() { _ = os.Chmod(key, 0o700) })
	must(t, os.Chmod(key, 0))
	asNobody(t, func() {
		_, err := l.Renew(within(t))
		mustBe(t, "Renew", err, backend.ErrDenied)
		mustBe(t, "Proclaim", l.Proclaim(within(t), []byte("new")), backend.ErrDenied)
	})
	must(t, os.Chmod(key, 0o700))
	if _, err := l.Renew(within(t)); err != nil {
		t.Errorf("Renew with the rights back: %v", err)
	}
	must(t, os.Chmod(key, 0))
	asNobody(t, func() { resign(t, l) })
	must(t, os.Chmod(key, 0o700))
	next := win(t, open(t, dir), "key", "next")
	if next.Token() <= l.Token() {
		t.Errorf("token %d after %d", next.Token(), l.Token())
	}
	resign(t, next)
}
