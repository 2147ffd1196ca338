//go:build unix

package stores

import (
	"slices"
	"testing"
	"time"
)

// What two servers say of their roles tells what a failover may have lost.
func TestFailoversAreToldFromRoles(t *testing.T) {
	t.Parallel()
	const (
		second = int64(time.Second)
		slave  = false
		master = true
	)
	type word struct {
		node    int
		primary bool
		at      int64 // in tenths of a second; 0: the node has died
	}
	follows := []word{{0, master, 10}, {1, slave, 10}, {0, master, 11}, {1, slave, 11}}
	for name, c := range map[string]struct {
		words []word
		want  []Lapse // in tenths of a second
	}{
		"none":                          {nil, nil},
		"the primary died":              {[]word{{1, master, 30}, {0, master, 0}, {0, master, 80}, {0, slave, 90}}, []Lapse{{11, 11, 30}}},
		"it went on for a while":        {[]word{{1, master, 30}, {0, master, 31}, {0, master, 35}, {0, slave, 36}}, []Lapse{{11, 11, 36}}},
		"it stood still and went on":    {[]word{{1, master, 30}, {0, master, 70}, {0, slave, 71}}, []Lapse{{11, 11, 30}, {11, 60, 71}}},
		"it stood still and stood down": {[]word{{1, master, 30}, {0, slave, 70}}, []Lapse{{11, 11, 30}}},
		"and back, all followed":        {[]word{{1, master, 30}, {0, slave, 31}, {0, slave, 50}, {0, master, 60}, {1, slave, 61}}, []Lapse{{11, 11, 31}, {50, 50, 61}}},
		"and back, nothing followed":    {[]word{{1, master, 30}, {0, master, 31}, {1, master, 40}, {0, master, 41}, {1, slave, 80}}, []Lapse{{11, 11, 41}, {11, 30, 50}}},
		"and back, when both had died":  {[]word{{1, master, 30}, {0, master, 0}, {0, master, 40}, {1, master, 50}, {1, slave, 80}}, []Lapse{{11, 11, 30}, {11, 30, 60}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f failovers
			for _, w := range append(slices.Clone(follows), c.words...) {
				if w.at == 0 {
					f.died(w.node)
				} else {
					f.note(w.node, w.primary, !w.primary, w.at*second/10, w.at*second/10)
				}
			}
			for i := range c.want {
				c.want[i].From *= second / 10
				c.want[i].Again *= second / 10
				c.want[i].Ended *= second / 10
			}
			if got := f.Lapses(); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
