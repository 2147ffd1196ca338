//go:build unix

package bench

import (
	"flag"
	"log/slog"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/klog/v2"

	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// patience is how long a measure waits for what must come.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	if servers.Role() == roleChild {
		os.Exit(child())
	}
	// Most of them only wait, so that they need no processor of their own.
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(trial.Outlast{M: m})
}
