//go:build unix

package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// debianPackage is one that tests need, and a file by which to see that it is there.
type debianPackage struct{ name, file string }

// debianPackages are the servers that come as packages of Debian, because they cannot be
// built from Go modules.
func debianPackages() []debianPackage {
	return []debianPackage{
		{"redis-server", redisServer},
		{"redis-tools", redisCli},
		{"zookeeper", zooKeeperJar}, // brings Java
	}
}

// Install installs those of Debian's packages that tests need and that are not there,
// with apt-get, and returns their names. It needs the rights to do so, and does nothing where
// nothing is missing.
func Install(ctx context.Context) (installed []string, err error) {
	for _, p := range debianPackages() {
		if _, err := os.Stat(p.file); err != nil {
			installed = append(installed, p.name)
		}
	}
	if len(installed) == 0 {
		return nil, nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil, fmt.Errorf("there is no apt-get here; install by hand what tests need: %s", strings.Join(installed, ", "))
	}
	for _, args := range [][]string{
		{"apt-get", "update", "-q"},
		append([]string{"apt-get", "install", "-q", "-y", "--no-install-recommends"}, installed...),
	} {
		if os.Geteuid() != 0 {
			args = append([]string{"sudo", "-n"}, args...)
		}
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return installed, nil
}

// debianFile returns path, which one of Debian's packages has, and fails the test if it is not there.
func debianFile(t testing.TB, path string) string {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		return path
	}
	i := slices.IndexFunc(debianPackages(), func(p debianPackage) bool { return p.file == path })
	if i < 0 {
		t.Fatalf("%s is of no package that the tests install", path)
	}
	t.Fatalf("%s is not here: run make servers, or install the package %s", path, debianPackages()[i].name)
	return ""
}
