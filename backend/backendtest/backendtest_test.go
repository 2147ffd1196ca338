package backendtest_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend/backendtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// subjectVar names the backend that TestSubject runs the suite on. A suite that fails would fail the test
// that shows it, so it runs in a process of its own.
const subjectVar = "BACKENDTEST_SUBJECT"

func TestSubject(t *testing.T) {
	name := os.Getenv(subjectVar)
	if name == "" {
		t.Skipf("%s is not set: this test is run by the others", subjectVar)
	}
	for _, s := range slices.Concat(honest(), broken(), misused(), []subject{minimal()}) {
		if s.name == name {
			backendtest.Run(t, s.harness())
			return
		}
	}
	t.Fatalf("no subject is called %q", name)
}

// run runs the suite on a subject, and returns its report.
func run(t *testing.T, name string) (passed bool, report string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSubject$", "-test.v", "-test.timeout=2m")
	// The race detector waits a second at every exit, to let others end: there are none.
	cmd.Env = append(os.Environ(), subjectVar+"="+name, "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	return err == nil, string(out)
}

// results returns the cases that the report has with the result.
func results(report, result string) []string {
	var cases []string
	for line := range strings.Lines(report) {
		if _, name, ok := strings.Cut(line, "--- "+result+": TestSubject/"); ok {
			cases = append(cases, name[:strings.LastIndex(name, " ")])
		}
	}
	return cases
}

// short leaves out of a report what went well.
func short(report string) string {
	var lines []string
	for line := range strings.Lines(report) {
		if !strings.Contains(line, "=== ") && !strings.Contains(line, "--- PASS") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// outcome returns whether the report has the result ("FAIL", "SKIP", "PASS") for a case.
func outcome(report, result, testCase string) bool {
	return slices.Contains(results(report, result), strings.ReplaceAll(testCase, " ", "_"))
}

func TestTheSuitePassesWhatIsSound(t *testing.T) {
	for _, s := range honest() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if passed, report := run(t, s.name); !passed || strings.Contains(report, "SKIP") || strings.Contains(report, "unable") {
				t.Errorf("the suite did not pass, or did not run whole:\n%s", short(report))
			}
		})
	}
}

func TestTheSuiteCatchesWhatIsBroken(t *testing.T) {
	var mu sync.Mutex
	failed := make(map[string]bool)
	t.Run("subjects", func(t *testing.T) {
		for _, s := range broken() {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				passed, report := run(t, s.name)
				if passed {
					t.Fatal("the suite passed")
				}
				for _, c := range s.caught {
					if !outcome(report, "FAIL", c) {
						t.Errorf("the case %q did not fail:\n%s", c, short(report))
					}
				}
				mu.Lock()
				defer mu.Unlock()
				for _, c := range results(report, "FAIL") {
					failed[c] = true
				}
			})
		}
	})
	// A case that no fault makes fail would be no test.
	_, report := run(t, "sound")
	all := results(report, "PASS")
	for _, c := range all {
		if !failed[c] {
			t.Errorf("no broken backend fails the case %q", c)
		}
	}
	if len(all) < 40 {
		t.Errorf("only %d cases ran on a sound backend", len(all))
	}
}

func TestAHarnessThatCannotWorkIsRefused(t *testing.T) {
	for _, s := range misused() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			passed, report := run(t, s.name)
			if passed || !strings.Contains(report, s.complaint) || strings.Contains(report, "TestSubject/") {
				t.Errorf("the suite must complain of %q and run nothing; passed: %t\n%s", s.complaint, passed, report)
			}
		})
	}
}

// What a backend cannot do is said at the start, and again at each case that is not run.
func TestWhatIsDeclaredAsUnableIsReported(t *testing.T) {
	passed, report := run(t, minimal().name)
	if !passed {
		t.Fatalf("the suite did not pass:\n%s", short(report))
	}
	if n := strings.Count(report, "declared as unable: "); n != 8 {
		t.Errorf("%d inabilities were reported, want 8:\n%s", n, report)
	}
	for _, c := range []string{
		"candidates win in the order in which they came", "Renew proves the record and not only the session",
		"a lease that nobody renews ends with its TTL", "after a crash the next candidate wins and not too soon",
		"Wait tells of a removed record", "the longest value is taken and one byte more is refused", "an idle store makes no calls",
	} {
		if !outcome(report, "SKIP", c) {
			t.Errorf("the case %q was not skipped visibly", c)
		}
	}
	if n := strings.Count(report, "--- PASS: TestSubject/"); n < 30 {
		t.Errorf("only %d cases ran", n)
	}
}
