//go:build unix

package linear

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// told makes a call that took from began to ret.
func told(began, ret int64, k kind, token uint64, value string, until int64) call {
	return call{began: began, op: op{kind: k, token: token, value: value, until: until, ret: ret}}
}

// broken makes a call that failed.
func broken(began, ret int64, k kind, token uint64, value string) call {
	c := told(began, ret, k, token, value, 0)
	c.failed = true
	return c
}

func TestTheModelTellsRightFromWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want  porcupine.CheckResult
		calls []call
	}{
		"a handover": {porcupine.Ok, []call{
			told(0, 10, campaign, 5, "a", 100),
			told(5, 40, campaign, 6, "b", 130),
			told(12, 14, observe, 5, "a", 0),
			told(15, 20, renew, 5, "", 115),
			told(20, 25, proclaim, 5, "a2", 0),
			told(26, 27, observe, 5, "a2", 0),
			told(28, 35, resign, 5, "", 0),
			told(41, 42, observe, 6, "b", 0),
			told(43, 44, lost, 5, "", 0),
		}},
		"an expiry": {porcupine.Ok, []call{
			told(0, 10, campaign, 5, "a", 100),
			told(20, 105, campaign, 6, "b", 200),
			told(106, 107, lost, 5, "", 0),
		}},
		"a vacancy after an expiry": {porcupine.Ok, []call{
			told(0, 10, campaign, 5, "a", 100),
			told(98, 105, observe, 0, "", 0),
		}},
		"an expiry that came early": {porcupine.Illegal, []call{
			told(0, 10, campaign, 5, "a", 100),
			told(20, 90, campaign, 6, "b", 200),
		}},
		"an expiry that a renewal put off": {porcupine.Illegal, []call{
			told(0, 10, campaign, 5, "a", 100),
			told(50, 60, renew, 5, "", 150),
			told(20, 120, campaign, 6, "b", 200),
		}},
		"a phantom leader": {porcupine.Illegal, []call{
			told(0, 10, campaign, 5, "a", 100),
			told(20, 30, campaign, 6, "b", 130),
			told(31, 32, renew, 5, "", 130),
		}},
		"a leader that the store does not know": {porcupine.Illegal, []call{
			told(0, 10, campaign, 5, "a", 100),
			told(20, 30, observe, 0, "", 0),
		}},
		"a token used twice": {porcupine.Illegal, []call{
			told(0, 10, campaign, 5, "a", 100),
			told(11, 12, resign, 5, "", 0),
			told(13, 20, campaign, 5, "b", 120),
		}},
		"a token that went back": {porcupine.Illegal, []call{
			told(0, 10, campaign, 5, "a", 100),
			told(11, 12, resign, 5, "", 0),
			told(13, 20, campaign, 4, "b", 120),
		}},
		"a stale read": {porcupine.Illegal, []call{
			told(0, 10, campaign, 5, "a", 100),
			told(11, 12, resign, 5, "", 0),
			told(13, 20, campaign, 6, "b", 120),
			told(21, 22, observe, 5, "a", 0),
		}},
		"a stale value": {porcupine.Illegal, []call{
			told(0, 10, campaign, 5, "a", 100),
			told(11, 12, proclaim, 5, "a2", 0),
			told(13, 14, observe, 5, "a", 0),
		}},
		"a renewal after the loss": {porcupine.Illegal, []call{
			told(0, 10, campaign, 5, "a", 100),
			told(11, 12, resign, 5, "", 0),
			told(13, 14, renew, 5, "", 113),
		}},
		"a loss that was none": {porcupine.Illegal, []call{
			told(0, 10, campaign, 5, "a", 100),
			told(11, 12, lost, 5, "", 0),
			told(13, 14, renew, 5, "", 113),
		}},
		"a campaign that failed and was seen to have won": {porcupine.Ok, []call{
			broken(0, 10, campaign, 0, "a"),
			told(12, 14, observe, 5, "a", 0),
			told(15, 20, campaign, 6, "b", 120),
		}},
		"and seen again after somebody else": {porcupine.Illegal, []call{
			broken(0, 10, campaign, 0, "a"),
			told(12, 14, observe, 5, "a", 0),
			told(15, 20, campaign, 6, "b", 120),
			told(21, 22, observe, 5, "a", 0),
		}},
		"one that failed and won before a lease had ended": {porcupine.Illegal, []call{
			told(0, 10, campaign, 5, "a", 100),
			broken(11, 20, campaign, 0, "b"),
			told(21, 22, observe, 6, "b", 0),
		}},
		"a resignation that failed, and came late": {porcupine.Ok, []call{
			told(0, 10, campaign, 5, "a", 100),
			broken(11, 12, resign, 5, ""),
			told(13, 14, observe, 5, "a", 0),
			told(15, 20, campaign, 6, "b", 120),
		}},
		"one that failed and must not serve another term": {porcupine.Illegal, []call{
			told(0, 10, campaign, 5, "a", 100),
			broken(11, 12, resign, 5, ""),
			told(15, 20, campaign, 6, "b", 120),
			told(21, 22, campaign, 7, "c", 121),
		}},
		"a proclamation that failed, and came late": {porcupine.Ok, []call{
			told(0, 10, campaign, 5, "a", 100),
			broken(11, 12, proclaim, 5, "a2"),
			told(13, 14, observe, 5, "a", 0),
			told(15, 16, observe, 5, "a2", 0),
		}},
		"one that came in another term": {porcupine.Illegal, []call{
			told(0, 10, campaign, 5, "a", 100),
			broken(11, 12, proclaim, 5, "a2"),
			told(13, 14, resign, 5, "", 0),
			told(15, 16, campaign, 6, "b", 116),
			told(17, 18, observe, 6, "a2", 0),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := porcupine.CheckOperationsTimeout(model(), operations(c.calls), time.Minute); got != c.want {
				t.Errorf("the check says %s, want %s", got, c.want)
			}
		})
	}
}
