package servers

import (
	"os"
	"testing"
)

func TestStoppedTellsARunningProcess(t *testing.T) {
	if err := stopped(os.Getpid()); err == nil {
		t.Error("this very process is said to stand still")
	}
}
