package election

import (
	"slices"
	"testing"
)

// plant is a bug put into the simulated store or backend on purpose. The simulation has to find every one
// of them: a check that never fails checks nothing.
type plant uint8

const (
	plantNone               plant = iota
	plantDeadlineFromAnswer       // the grant counts from the answer
	plantNoRecheck                // a wake-up is taken for a win
	plantRenewUnproven            // a renewal proves the session, not the record
	plantRemoveByName             // a release removes whoever holds the key
	plantTruncatedTTL             // the store ends leases earlier than it said
	plantSameIdentity             // a restarted process finds its old record and takes it for its own
	plantTokenReset               // tokens start again
	plantNoSafetyRead             // a candidate that is not woken never looks
	plantLeaveBehind              // a candidate that has left is kept alive
	plantNoWake                   // nobody is woken when the key is vacant
	plantRenewByName              // a renewal extends whoever holds the key
	plantProclaimUnwritten        // a value is said to be taken, and is not
	plantBlindGuard               // what a term guards does not look at tokens
)

// TestSimulationFindsWhatIsPlanted gives every planted bug a number of schedules to be found in.
func TestSimulationFindsWhatIsPlanted(t *testing.T) {
	for _, tt := range []struct {
		name  string
		plant plant
		rules []string // any of which may be broken first
	}{
		{"deadline from the answer", plantDeadlineFromAnswer, []string{"I5"}},
		{"win without a second look", plantNoRecheck, []string{"I1", "I3"}},
		{"renewal that proves nothing", plantRenewUnproven, []string{"I1"}},
		{"release by name", plantRemoveByName, []string{"I6"}},
		{"lease that ends early", plantTruncatedTTL, []string{"I1"}},
		{"identity used twice", plantSameIdentity, []string{"I3", "I6"}},
		{"tokens that start again", plantTokenReset, []string{"I3"}},
		{"no safety read", plantNoSafetyRead, []string{"I10", "I18"}},
		{"a candidate left behind", plantLeaveBehind, []string{"I10", "I11"}},
		{"nobody is woken", plantNoWake, []string{"I10"}},
		{"renewal by name", plantRenewByName, []string{"I6"}},
		{"a value that is not written", plantProclaimUnwritten, []string{"proclaim"}},
		{"a guard that looks at no token", plantBlindGuard, []string{"I2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const enough = 300
			for seed := range uint64(enough) {
				s := newScenario(seed)
				s.planted = tt.plant
				v := simulate(t.Context(), s, false).violation
				if v == nil {
					continue
				}
				if !slices.Contains(tt.rules, v.rule) {
					t.Fatalf("seed %d: found by another rule than %v: %v", seed, tt.rules, v)
				}
				t.Logf("seed %d: %v", seed, v)
				return
			}
			t.Errorf("not found in %d schedules", enough)
		})
	}
}
