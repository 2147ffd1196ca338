package consul

import (
	"math"
	"math/rand/v2"
	"time"
)

// window is the time within which a candidate picks a moment to take a free key: the first of those who wait takes
// it, and the others see so before they write, as each write in vain is an entry in the log of Consul's servers. It is none
// as long as nobody else was met, so that a lone candidate takes the key as soon as it is free.
//
// Nobody knows how many wait. So the moments are not picked evenly, but the more often the later in the window they
// are: with a spread of window / ln(window / 1 ms), of however many the first is about one spread before the second. The
// first of few comes late in the window, that of very many at once: some of those pick the very beginning, and write without another look,
// as nobody can be before them. Until the first one's write is answered the key looks free, and where a thousand queries wake
// at once that takes long. So a candidate learns from how long its own write in vain took: of a window
// three times as long, few pick a moment before the first is done, however many they are. Most do not write, and learn from the look that
// each takes before: if it shows a free key, but took so long that the window is too short, they pick once more, in a longer one.
type window time.Duration

const (
	firstWindow = 8 * time.Millisecond
	maxWindow   = 250 * time.Millisecond
	maxWindows  = 1024 // that are remembered
)

// draw picks how long to wait before the key is taken; 0 is at once.
func (w window) draw() time.Duration {
	if w == 0 {
		return 0
	}
	latest := math.Log(max(time.Duration(w).Seconds()*1000, math.E))
	return max(0, time.Duration(float64(w)*(1-rand.ExpFloat64()/latest)))
}

// late is the window after a write in vain at the moment that was drawn, which took a while to be refused; or after one that would
// have been, of which that is not known, as 0. It does not grow if the key lay free for half of it before, as those who wait are few
// then, and met by chance.
func (w window) late(drawn, took time.Duration) window {
	if w > window(firstWindow) && drawn >= time.Duration(w)/2 {
		return w
	}
	return min(max(2*w, window(firstWindow), window(3*took)), window(maxWindow))
}

// busy is the window for what is left of the time that the key is free, after a look that took a while; none stays none. So long does it
// take until others see a write.
func (w window) busy(took time.Duration) window {
	if w == 0 {
		return 0
	}
	return max(w, min(window(3*took), window(maxWindow)))
}

// looked is what is remembered of such a look. As a single one may be slow by chance, the window becomes twice as long at most.
func (w window) looked(took time.Duration) window { return min(w.busy(took), 2*w) }

// won is the window after a win at the moment that was drawn. Nothing else makes it shorter: that somebody else has taken the
// key is seen late where many wait, so that it tells nothing of how long the key lay free.
func (w window) won(drawn time.Duration) window {
	next := w / 2
	if drawn > time.Duration(w)/2 {
		next = w / 4
	}
	if next < window(firstWindow)/4 {
		return 0
	}
	return next
}

// window is the window with which to begin: what the last candidacy for key has learnt.
func (b *Backend) window(key string) window {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.windows[key]
}

// keepWindow remembers what a candidacy for key has learnt.
func (b *Backend) keepWindow(key string, w window) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.windows, key)
	if w == 0 {
		return
	}
	if len(b.windows) >= maxWindows {
		clear(b.windows)
	}
	b.windows[key] = w
}
