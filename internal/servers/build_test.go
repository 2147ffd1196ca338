//go:build unix

package servers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	goodSource = "package main\n\nfunc main() { println(`hello`) }\n"
	badSource  = "package main\n\nfunc main() { greet() }\n"
)

// writeModule makes a module that names its own command as a tool.
func writeModule(t *testing.T, source string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "greeter")
	if err := os.MkdirAll(filepath.Join(dir, "hello"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "go.mod"), "module example.org/greeter\n\ngo 1.26.0\n\ntool example.org/greeter/hello\n")
	writeFile(t, filepath.Join(dir, "go.sum"), "")
	writeFile(t, filepath.Join(dir, "hello", "main.go"), source)
	return dir
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestBuildsAtOnceShareOneResult(t *testing.T) {
	source, cache := writeModule(t, goodSource), t.TempDir()
	var building sync.WaitGroup
	dirs := make([]string, 4)
	for i := range dirs {
		building.Go(func() {
			var err error
			if dirs[i], err = buildOnce(t.Context(), source, cache); err != nil {
				t.Error(err)
			}
		})
	}
	building.Wait()
	for _, dir := range dirs {
		if dir != dirs[0] {
			t.Errorf("built into %s and %s", dirs[0], dir)
		}
	}
	if out, err := exec.CommandContext(t.Context(), filepath.Join(dirs[0], "hello")).CombinedOutput(); err != nil || string(out) != "hello\n" {
		t.Errorf("what was built prints %q, %v", out, err)
	}
	if partial, _ := filepath.Glob(filepath.Join(cache, "*.partial-*")); partial != nil {
		t.Errorf("left behind: %v", partial)
	}
}

func TestBuildThatFailsTellsWhyAndIsTriedAgain(t *testing.T) {
	source, cache := writeModule(t, badSource), t.TempDir()
	if _, err := buildOnce(t.Context(), source, cache); err == nil || !strings.Contains(err.Error(), "undefined: greet") {
		t.Fatalf("the error does not hold the compiler's words: %v", err)
	}
	if built, _ := filepath.Glob(filepath.Join(cache, "greeter-*[^k]")); built != nil { // all but the lock
		t.Errorf("left behind: %v", built)
	}
	writeFile(t, filepath.Join(source, "hello", "main.go"), goodSource)
	if _, err := buildOnce(t.Context(), source, cache); err != nil {
		t.Errorf("once it can be built: %v", err)
	}
}

func TestBuildIsNamedForItsModules(t *testing.T) {
	source := writeModule(t, goodSource)
	before, err := cacheName(source)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(source, "go.sum"), "\n")
	after, err := cacheName(source)
	if err != nil {
		t.Fatal(err)
	}
	if before == after {
		t.Errorf("both are %s, though go.sum has changed", before)
	}
}

func TestBuildOfAnUnknownServerFails(t *testing.T) {
	if _, err := Build(t.Context(), "nonesuch"); err == nil || !strings.Contains(err.Error(), "build nonesuch") {
		t.Errorf("got %v", err)
	}
}

func TestCleanRemovesWhatWasBuiltAndNothingElse(t *testing.T) {
	source, cache := writeModule(t, goodSource), t.TempDir()
	if _, err := buildOnce(t.Context(), source, cache); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(cache, "greeter-notes")
	writeFile(t, mine, "mine")
	if err := clean(cache, []string{"greeter"}); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "*")); len(left) != 1 || left[0] != mine {
		t.Errorf("left: %v, want %s alone", left, mine)
	}
}
