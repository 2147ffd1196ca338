//go:build unix

package servers_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/internal/servers"
)

func TestMain(m *testing.M) {
	switch servers.Role() {
	case "count":
		countUp()
	case "parent":
		if err := flag.Set("test.run", "^TestNothingSurvivesATestBinaryThatIsKilled$"); err != nil {
			panic(err)
		}
		os.Exit(m.Run())
	default:
		goleak.VerifyTestMain(m)
	}
}
