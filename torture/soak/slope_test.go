//go:build unix

package soak

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
)

// sample is what the process holds at a time.
type sample struct {
	at         time.Duration
	heap       float64 // bytes that are live after a collection
	goroutines float64
	fds        float64
}

// fewest is how many samples a trend must be made of.
const fewest = 50

func take(at time.Duration) sample {
	runtime.GC()
	runtime.GC() // what finalizers of the first one let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s := sample{at: at, heap: float64(m.HeapAlloc), goroutines: float64(runtime.NumGoroutine())}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil { // not Linux: 0, and flat
		s.fds = float64(len(fds))
	}
	return s
}

// trend is the line that fits a row of numbers best.
type trend struct {
	Mean    float64
	PerHour float64
	Error   float64 // standard error of PerHour, which samples apart make larger
	Rise    float64 // over the time of the samples
}

func trendOf(samples []sample, of func(sample) float64) trend {
	n := float64(len(samples))
	var sumX, sumY float64
	for _, s := range samples {
		sumX += s.at.Hours()
		sumY += of(s)
	}
	meanX, meanY := sumX/n, sumY/n
	var xx, xy float64
	for _, s := range samples {
		xx += (s.at.Hours() - meanX) * (s.at.Hours() - meanX)
		xy += (s.at.Hours() - meanX) * (of(s) - meanY)
	}
	slope := xy / xx
	var rest float64
	for _, s := range samples {
		d := of(s) - meanY - slope*(s.at.Hours()-meanX)
		rest += d * d
	}
	return trend{
		Mean: meanY, PerHour: slope, Error: math.Sqrt(rest / max(1, n-2) / xx),
		Rise: slope * (samples[len(samples)-1].at - samples[0].at).Hours(),
	}
}

// fifths returns the mean heap of each fifth of the samples: a line cannot tell a step from a slope.
func fifths(samples []sample) (means [5]float64) {
	for i := range means {
		part := samples[i*len(samples)/5 : (i+1)*len(samples)/5]
		for _, s := range part {
			means[i] += s.heap / float64(len(part))
		}
	}
	return means
}

// grows reports whether the rise is more than may be, and more than chance explains.
func (t trend) grows(allowed float64) bool { return t.Rise > allowed && t.PerHour > 3*t.Error }

func (t trend) String() string {
	return fmt.Sprintf("mean %.0f, slope %.1f ± %.1f per hour, rise %.1f", t.Mean, t.PerHour, t.Error, t.Rise)
}

func TestTrendSeesALeakAndNoNoise(t *testing.T) {
	t.Parallel()
	var flat, leaking []sample
	for i := range 100 {
		noise := float64(i * 7919 % 13)
		at := time.Duration(i) * time.Second
		flat = append(flat, sample{at: at, heap: 1000 + noise})
		leaking = append(leaking, sample{at: at, heap: 1000 + noise + 0.5*float64(i)})
	}
	heap := func(s sample) float64 { return s.heap }
	if tr := trendOf(flat, heap); tr.grows(5) {
		t.Errorf("flat, and said to grow: %v", tr)
	}
	tr := trendOf(leaking, heap)
	if !tr.grows(5) {
		t.Errorf("growing, and not said to: %v", tr)
	}
	if math.Abs(tr.PerHour-1800) > 100 {
		t.Errorf("slope %v, want 1800 per hour", tr.PerHour)
	}
	slices.Reverse(leaking)
	for i := range leaking {
		leaking[i].at = time.Duration(i) * time.Second
	}
	if tr := trendOf(leaking, heap); tr.grows(5) {
		t.Errorf("shrinking, and said to grow: %v", tr)
	}
}
