package fileurl_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/backend/file/fileurl"
	"github.com/hustings-go/hustings/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b")
	base := "file://" + filepath.ToSlash(strings.ReplaceAll(dir, " ", "%20"))
	store, err := backendurl.Open(t.Context(), base+"?ttl=3s&mode=0640&name=me", fileurl.Opener())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	lease, err := store.Campaign(t.Context(), "key", nil)
	if err != nil || store.TTL() != 3*time.Second {
		t.Fatalf("TTL %v, error %v", store.TTL(), err)
	}
	if err := lease.Resign(t.Context()); err != nil {
		t.Error(err)
	}
	if f := store.Inspect(t.Context()); len(f) != 1 || !strings.Contains(f[0].Text, "a b") {
		t.Errorf("found %+v", f)
	}
	for _, raw := range []string{
		"file://", "file:///", "file://relative/path",
		base + "?mode=rw", base + "?mode=0444", base + "?unsafe-network-fs=1", base + "?ttl=1ms", base + "?cacert=x",
	} {
		if _, err := backendurl.Open(t.Context(), raw, fileurl.Opener()); !retry.IsPermanent(err) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
