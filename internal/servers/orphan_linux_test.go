package servers_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/hustings-go/hustings/internal/servers"
)

// TestNothingSurvivesATestBinaryThatIsKilled runs this very test in another
// process as well, where it starts a child and hangs.
func TestNothingSurvivesATestBinaryThatIsKilled(t *testing.T) {
	if servers.Role() == "parent" {
		child := servers.StartSelf(t, "count")
		child.Await("count")
		child.Pause() // what stands still must not be left behind either
		fmt.Println("child", child.PID())
		<-t.Context().Done()
		return
	}
	parent := servers.StartSelf(t, "parent", "TMPDIR="+t.TempDir()) // it does not get to tidy up
	pid := strings.TrimPrefix(parent.Await("child "), "child ")
	parent.Kill()
	servers.Await(t, "the child to end", func(context.Context) error {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if errors.Is(err, fs.ErrNotExist) || strings.Contains(string(stat), ") Z ") {
			return nil // a zombie waits for whoever adopted it
		}
		return fmt.Errorf("still there: %s (%w)", stat, err)
	})
}
