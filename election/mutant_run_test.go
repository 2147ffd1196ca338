package election

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// mutant is a bug, as a change to one file. The tests of dir have to notice it.
type mutant struct {
	name     string
	like     string // its number in the catalogue that this project began with, if it has one
	dir      string
	file     string
	old, new string
	run      string // which tests, where all of them take long
}

// TestMutants plants bugs, one at a time, and expects the tests to fail. The sources are never touched:
// each changed file is handed to the compiler beside them. It takes minutes, and runs under MUTANTS=all,
// MUTANTS=backend/memory for those of a folder, or MUTANTS=text for those with that text in their name.
//
// Package election is asked twice: first the simulation alone, then, if that saw nothing, everything else.
func TestMutants(t *testing.T) {
	which := os.Getenv("MUTANTS")
	if which == "" {
		t.Skip("takes minutes; run by make mutants")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	sound := map[string]bool{} // folders and tests in them that pass as they are: else their failing says nothing
	tried, caught := 0, 0
	for _, m := range mutants() {
		if which != "all" && which != m.dir && !strings.Contains(m.name, which) {
			continue
		}
		tried++
		t.Run(m.name, func(t *testing.T) {
			begun := time.Now()
			if !sound[m.dir+" "+m.run] {
				clean := mutant{dir: m.dir, file: m.file, run: m.run}
				if by := clean.plant(t, root); by != "" {
					t.Fatalf("the tests of %s fail without a bug: %s", m.dir, by)
				}
				sound[m.dir+" "+m.run] = true
			}
			by := m.plant(t, root)
			if by == "" {
				t.Errorf("survived: the tests of %s see nothing wrong with %q in place of %q", m.dir, m.new, m.old)
				by = "SURVIVED"
			} else {
				caught++
			}
			table.WriteString("| " + m.like + " | " + m.dir + " | " + m.name + " | " + by + " |\n")
			t.Logf("%s, after %v", by, time.Since(begun).Round(time.Second/10))
		})
	}
	t.Logf("%d of %d caught\n%s", caught, tried, &table)
	if tried == 0 {
		t.Errorf("no mutant is named like %q", which)
	}
}

// Each bug names the one place in the code that it is planted in, and goes with it when that changes.
func TestMutantsHaveTheirPlace(t *testing.T) {
	for _, m := range mutants() {
		source, err := os.ReadFile(filepath.Join("..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		m.find(t, source)
	}
}

// find looks for the place that the bug is planted in, and reports whether there is one.
func (m mutant) find(t *testing.T, source []byte) bool {
	t.Helper()
	n := bytes.Count(source, []byte(m.old))
	if n != 1 {
		t.Errorf("%s: %s has %d places like %q; the code has changed, so must the mutant", m.name, m.file, n, m.old)
	}
	return n == 1
}

// plant builds the tests with the bug in, runs them, and returns what noticed it.
func (m mutant) plant(t *testing.T, root string) string {
	t.Helper()
	original := filepath.Join(root, m.file)
	source, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	if m.old != "" && !m.find(t, source) {
		t.FailNow()
	}
	temp := t.TempDir()
	changed := filepath.Join(temp, filepath.Base(m.file))
	if err := os.WriteFile(changed, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(temp, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(temp, "mutant.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, "-overlay", list, "./"+m.dir)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the mutant does not build: %v\n%s", err, out)
	}
	dir := filepath.Join(root, m.dir)
	if m.dir != "election" {
		return tests(t.Context(), dir, binary, "-test.run="+m.run)
	}
	if by := tests(t.Context(), dir, binary, "-test.run=^TestSimulation$"); by != "" {
		return by
	}
	return tests(t.Context(), dir, binary, "-test.skip=Simulation|Mutants", "-test.short")
}

var (
	ruleBroken = regexp.MustCompile(`(?m)^    sim_run_test.go:\d+: (\S+) at`)
	testFailed = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)`)
)

// tests runs a test binary and returns what failed in it, or nothing. Tests that do not end, or that end
// all of the process, have noticed as well.
func tests(ctx context.Context, dir, binary string, args ...string) string {
	patience := 2 * time.Minute
	if strings.HasSuffix(dir, "etcd") { // leases of a real server take their time
		patience = 5 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append(args, "-test.failfast")...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MUTANTS=", "SEED=", "FROM=", "SEEDS=3000")
	out, err := cmd.CombinedOutput()
	switch rule, test := ruleBroken.FindSubmatch(out), testFailed.FindAllSubmatch(out, -1); {
	case err == nil:
		return ""
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "a test that did not end"
	case rule != nil:
		return "simulation, " + string(rule[1])
	case test != nil:
		return string(test[len(test)-1][1])
	default:
		return "a crash"
	}
}
