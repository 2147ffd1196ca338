package file

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hustings-go/hustings/retry"
)

// The layout: each key has a folder of its own right below the Backend's, and in it are
//
//	lock        what candidates lock; never written to, renamed or deleted by us
//	term-NNN    the newest term's record, its token in the name, 19 digits
//	new-XXX     a record on its way to its name
//
// A '/' in a key becomes a '+', which keys cannot contain, so that two keys never share a folder, and a
// key of the greatest length is still a file name that every file system takes.
const (
	lockName   = "lock"
	termPrefix = "term-"
	newPrefix  = "new-"
	tokenWidth = 19 // of math.MaxInt64, so that names sort as tokens do
)

// folder is a Backend's folder. Its methods are safe for concurrent use.
type folder struct {
	path string
	mode fs.FileMode // of files
}

func (d folder) name(key string) string { return strings.ReplaceAll(key, "/", "+") }

func (d folder) of(key string) string { return filepath.Join(d.path, d.name(key)) }

func (d folder) lock(key string) string { return filepath.Join(d.of(key), lockName) }

func (d folder) term(key string, token uint64) string {
	return filepath.Join(d.of(key), fmt.Sprintf("%s%0*d", termPrefix, tokenWidth, token))
}

// dirMode is the mode of a folder whose files have mode.
func dirMode(mode fs.FileMode) fs.FileMode { return mode | mode&0o444>>2 }

// errForeign says that something stands where one of our files should be.
func errForeign(path string, mode fs.FileMode) error {
	return retry.Permanent(fmt.Errorf("%s is no file or folder of ours: its type is %v, and links are not followed", path, mode.Type()))
}

// mkdir makes the folder of key unless it is there, and refuses what is not a folder.
func (d folder) mkdir(key string) error {
	path := d.of(key)
	mode := dirMode(d.mode)
	switch err := os.Mkdir(path, mode); {
	case err == nil:
		// The umask may have taken rights away.
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
		return syncDir(d.path)
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	info, err := os.Lstat(path)
	if err == nil && !info.IsDir() {
		err = errForeign(path, info.Mode())
	}
	return err
}

// open opens the lock file to lock it, and makes it if need be.
func (d folder) open(key string) (*os.File, fs.FileInfo, error) {
	path := d.lock(key)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|openFlags, d.mode)
	switch {
	case err == nil:
		err = f.Chmod(d.mode)
	case errors.Is(err, fs.ErrExist):
		f, err = os.OpenFile(path, os.O_RDWR|openFlags, 0)
	}
	return d.regular(path, f, err)
}

// openToRead opens a file that exists.
func (d folder) openToRead(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	return d.regular(path, f, err)
}

// regular checks what was opened at path, or why it was not.
func (d folder) regular(path string, f *os.File, err error) (*os.File, fs.FileInfo, error) {
	if err != nil {
		if info, lerr := os.Lstat(path); lerr == nil && !info.Mode().IsRegular() {
			err = errForeign(path, info.Mode())
		}
		if f != nil {
			_ = f.Close()
		}
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errForeign(path, info.Mode())
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// same reports whether info is the file that path names now.
func same(path string, info fs.FileInfo) (bool, error) {
	now, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	default:
		return os.SameFile(now, info), nil
	}
}

// newest returns the token of the newest term of key, 0 if there was none. It goes by the names of files,
// so that no damaged record can take it back.
func (d folder) newest(key string) (uint64, error) {
	entries, err := os.ReadDir(d.of(key))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var newest uint64
	for _, entry := range entries {
		newest = max(newest, tokenOf(entry.Name()))
	}
	return newest, nil
}

// tokenOf returns the token that a file's name carries, 0 if it is not the name of a term.
func tokenOf(name string) uint64 {
	digits, ok := strings.CutPrefix(name, termPrefix)
	if !ok || len(digits) != tokenWidth {
		return 0
	}
	token, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0
	}
	return token
}

// next returns the token that follows newest, at time now, in microseconds since 1970. Tokens go by the
// clock unless that would take them back: so they also grow where the folder was lost or restored from a
// backup, for as long as the clock was not set back in between.
func next(newest uint64, now int64) (uint64, error) {
	if newest >= math.MaxInt64 {
		return 0, retry.Permanent(fmt.Errorf("the token %d of the last term is the highest there is", newest))
	}
	return max(newest+1, uint64(max(now, 1))), nil
}

// read returns the record of a term, and the bytes of the whole file.
func (d folder) read(key string, token uint64) (record, []byte, fs.FileInfo, error) {
	f, info, err := d.openToRead(d.term(key, token))
	if err != nil {
		return record{}, nil, nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxRecordLen+1))
	if err != nil {
		return record{}, nil, nil, err
	}
	rec, err := decode(data)
	if err == nil && rec.Token != token {
		err = fmt.Errorf("%w: it is of token %d, its name says %d", errDamaged, rec.Token, token)
	}
	return rec, data, info, err
}

// create makes the record of a new term. It is durable, name and all, when create returns. Of several who
// try the same token only one succeeds, lock or no lock.
func (d folder) create(key string, token uint64, data []byte) error {
	if err := d.write(d.term(key, token), data, true); err != nil {
		return err
	}
	return syncDir(d.of(key))
}

// replace puts data in the place of a term's record at one stroke. Only its own term does that, and nothing
// but the token needs to survive a power cut, so it is not made durable.
func (d folder) replace(key string, token uint64, data []byte) error {
	draft := filepath.Join(d.of(key), newPrefix+rand.Text())
	if err := d.write(draft, data, false); err != nil {
		return err
	}
	if err := os.Rename(draft, d.term(key, token)); err != nil {
		_ = os.Remove(draft)
		return err
	}
	return nil
}

// write makes a file that is not there yet. A torn one is removed again. One that is whole and merely could
// not be made durable stays: it may have been read, and its name, which counts, may yet survive.
func (d folder) write(path string, data []byte, durable bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|openFlags, d.mode)
	if err != nil {
		return err
	}
	err = f.Chmod(d.mode)
	if err == nil {
		_, err = f.Write(data)
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(path)
		return err
	}
	if durable {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// tidy removes what is older than the term of token, which holds the key. What cannot be removed is in
// nobody's way.
func (d folder) tidy(key string, token uint64) {
	entries, err := os.ReadDir(d.of(key))
	if err != nil {
		return
	}
	for _, entry := range entries {
		name := entry.Name()
		if old := tokenOf(name); old != 0 && old < token || strings.HasPrefix(name, newPrefix) {
			_ = os.Remove(filepath.Join(d.of(key), name))
		}
	}
}

// syncDir makes names in a folder durable.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
