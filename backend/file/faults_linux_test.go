package file_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend/file"
	"github.com/hustings-go/hustings/internal/faults"
)

// place is a folder, in the part of the server of a store that has none.
type place struct {
	faults.Server // no other method is called
	dir           string
}

func (p place) Endpoint() string { return p.dir }

// TestFaults plays every failure that one machine has, with candidates in processes of their own.
func TestFaults(t *testing.T) {
	faults.Run(t, faults.Harness{
		TTL:       4 * time.Second, // of less, candidates lose terms to each other's load
		Expiry:    0,               // of a crash: at once
		Unordered: true,
		Local:     true,
		Start:     func(t testing.TB) faults.Server { return place{dir: t.TempDir()} },
		Records: func(t testing.TB, s faults.Server, key string) []string {
			return users(t, s.Endpoint(), strings.ReplaceAll(key, "/", "+"))
		},
		Delete: func(t testing.TB, s faults.Server, _ string) {
			t.Helper()
			found, err := filepath.Glob(filepath.Join(s.Endpoint(), "*", "lock"))
			if err != nil || len(found) != 1 {
				t.Fatalf("lock files: %v, error %v", found, err)
			}
			if err := os.Remove(found[0]); err != nil {
				t.Fatal(err)
			}
		},
	})
}

// users lists the processes that have the lock file of a key open, as numbers: its holder first, then those
// that wait. It needs Linux's /proc.
func users(t testing.TB, dir, name string) []string {
	t.Helper()
	lock := filepath.Join(dir, name, "lock")
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	var pids []string
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == lock {
			pids = append(pids, strings.Split(link, "/")[2])
		}
	}
	holder := fmt.Sprint(holderOf(t, dir, name))
	slices.SortStableFunc(pids, func(a, b string) int {
		switch {
		case a == holder:
			return -1
		case b == holder:
			return 1
		default:
			return 0
		}
	})
	return pids
}

// holderOf reads the newest record as an operator would: its first line is JSON.
func holderOf(t testing.TB, dir, name string) (pid int) {
	t.Helper()
	for _, n := range slices.Backward(files(t, dir, name)) {
		if file.TokenOf(n) == 0 {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, name, n))
		if err != nil {
			return 0
		}
		var head struct {
			PID int `json:"pid"`
		}
		line, _, _ := strings.Cut(string(data), "\n")
		_ = json.Unmarshal([]byte(line), &head) // torn while it is written
		return head.PID
	}
	return 0
}
