package file_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/backendtest"
	"github.com/hustings-go/hustings/backend/file"
)

// harness is on a folder of its own. An operator deposes a leader by removing the lock file.
func harness(t *testing.T, change func(*file.Backend)) backendtest.Harness {
	dir := t.TempDir()
	var looks atomic.Int64
	return backendtest.Harness{
		MinTTL:    file.MinTTL,
		MaxValue:  file.MaxValueLen,
		Calls:     looks.Load,
		IdleCalls: 1,
		Parallel:  true,
		Features:  backendtest.Features{WaitTellsLoss: true},
		Open: func(t testing.TB, ttl time.Duration) backend.Backend {
			b, err := file.New(dir, file.WithTTL(ttl))
			if err != nil {
				t.Fatal(err)
			}
			b.OnLook(func() { looks.Add(1) })
			if change != nil {
				change(b)
			}
			return b
		},
		Depose: func(t testing.TB, key string) {
			if err := os.Remove(filepath.Join(dir, strings.ReplaceAll(key, "/", "+"), "lock")); err != nil {
				t.Fatal(err)
			}
		},
		Kill: func(_ testing.TB, b backend.Backend) { b.(*file.Backend).Crash() },
	}
}

// A crash frees the key at once, so that a lease does not have to run out; the suite knows stores that do
// either, so it runs twice.
func TestConformance(t *testing.T) {
	backendtest.Run(t, harness(t, nil))
}

func TestConformanceOfLeasesThatRunOut(t *testing.T) {
	h := harness(t, nil)
	h.Features.Expiry = true
	h.Kill = nil
	backendtest.Run(t, h)
}

// Without notices, as on macOS, or where the user's inotify instances are used up, all is as before, if
// later and with more looks.
func TestConformanceWithoutNotices(t *testing.T) {
	h := harness(t, (*file.Backend).Deafen)
	h.Calls = nil
	backendtest.Run(t, h)
}
