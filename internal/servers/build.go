//go:build unix

package servers

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// CacheVar names the environment variable that tells where built servers are
// kept. Unset, it is the folder hustings/servers in [os.UserCacheDir].
const CacheVar = "HUSTINGS_SERVERS_CACHE"

// hashBytes is how much of a hash goes into the name of what was built.
const hashBytes = 8

// Build returns the folder with the executables of the server called name: all
// that the tool directives of its module name, each under the last element of
// its package's path (without a major version). It builds them if nobody did so
// before from the same go.mod and go.sum with the same Go, which takes from
// seconds to minutes and needs the network if the module cache is empty.
//
// Builds of one server that are asked for at once, in this process or another,
// wait for the first and share its result. A failed one leaves nothing behind;
// its error ends with what the compiler said.
func Build(ctx context.Context, name string) (dir string, err error) {
	source, err := moduleDir(name)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	cache, err := cacheDir()
	if err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	dir, err = buildOnce(ctx, source, cache)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	return dir, nil
}

// buildOnce builds the tools of the module in source into a folder of cache
// that is named for what goes into them, unless it is there already.
func buildOnce(ctx context.Context, source, cache string) (string, error) {
	name, err := cacheName(source)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, name)
	if isDir(dir) {
		return dir, nil
	}
	unlock, err := lock(filepath.Join(cache, name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if isDir(dir) { // somebody else built it while this one waited for the lock
		return dir, nil
	}
	temp, err := os.MkdirTemp(cache, name+".partial-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp) // after the rename there is nothing to remove
	if err := compile(ctx, source, temp); err != nil {
		return "", err
	}
	return dir, os.Rename(temp, dir)
}

func compile(ctx context.Context, source, target string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-C", source, "-buildvcs=false", "-o", target+string(filepath.Separator), "tool")
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// cacheName is different for all that would be built differently.
func cacheName(source string) (string, error) {
	sum := sha256.New()
	for _, file := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(source, file))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n%s", file, len(text), text)
	}
	fmt.Fprintln(sum, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return fmt.Sprintf("%s-%x", filepath.Base(source), sum.Sum(nil)[:hashBytes]), nil
}

// Names returns the servers that there are to build, in order.
func Names() ([]string, error) {
	root, err := sourceDir()
	if err != nil {
		return nil, err
	}
	modules, err := filepath.Glob(filepath.Join(root, "*", "go.mod"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, file := range modules {
		names = append(names, filepath.Base(filepath.Dir(file)))
	}
	slices.Sort(names)
	return names, nil
}

// Clean removes all that was ever built, of the servers that there are now.
func Clean() error {
	names, err := Names()
	if err != nil {
		return err
	}
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	return clean(cache, names)
}

// clean removes no more than what is named as the builder names things: a user
// may have put the cache into a folder that holds other things too.
func clean(cache string, names []string) error {
	for _, name := range names {
		built, err := filepath.Glob(filepath.Join(cache, name+"-"+strings.Repeat("[0-9a-f]", 2*hashBytes)+"*"))
		if err != nil {
			return err
		}
		for _, path := range built {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

func moduleDir(name string) (string, error) {
	root, err := sourceDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, name), nil
}

// sourceDir is the folder of this file. The modules of the servers cannot be
// embedded, because go:embed does not cross into another module.
func sourceDir() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	if !filepath.IsAbs(file) {
		return "", errors.New("the sources cannot be found from a binary built with -trimpath")
	}
	return filepath.Dir(file), nil
}

func cacheDir() (string, error) {
	dir := os.Getenv(CacheVar)
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(user, "hustings", "servers")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// lock holds the file at path for this caller alone, until unlock or until the
// process ends, and waits while another caller or process holds it.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	return func() { file.Close() }, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
