//go:build unix

package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// stageTick is how often the lanes go on when nothing happens.
const stageTick = 500 * time.Millisecond

// leastLane and mostLane bound how wide a lane is, in characters.
const (
	leastLane = 12
	mostLane  = 32
)

// appearance is what a candidate looks like.
type appearance int

const (
	outside appearance = iota // not there
	waits
	leads
	frozen
)

// glyphs are how they look, with the color of a terminal.
var glyphs = [...]struct{ glyph, color string }{
	outside: {" ", "31"},
	waits:   {"│", "2"},
	leads:   {"█", "32;1"},
	frozen:  {"▒", "33"},
}

// stage prints what happens: in lanes, or in lines.
type stage struct {
	out   io.Writer
	lanes int // the width of the terminal, or 0 for lines
	color bool
	start time.Time
	cast  []string
	looks map[string]appearance
	// headed says that the lanes have their names.
	headed bool
}

// width is that of a lane.
func (s *stage) width() int {
	return min(max((s.lanes-len(s.clock())-1)/len(s.cast), leastLane), mostLane)
}

// say prints a remark.
func (s *stage) say(format string, args ...any) {
	text := printable(fmt.Sprintf(format, args...))
	if s.lanes == 0 {
		fmt.Fprintf(s.out, "%s  --    %s\n", s.clock(), text)
		return
	}
	fmt.Fprintf(s.out, "%s %s\n", s.clock(), s.paint("1", text))
}

// enter has a candidate look otherwise.
func (s *stage) enter(name string, look appearance, text string) {
	if s.looks == nil {
		s.looks = make(map[string]appearance)
	}
	if s.looks[name] == look && text == "waits" {
		return
	}
	s.looks[name] = look
	if s.lanes == 0 {
		fmt.Fprintf(s.out, "%s  %-4s  %s\n", s.clock(), name, printable(text))
		return
	}
	s.row(name, strings.TrimPrefix(printable(text), "leads, ")) // the lane shows that
}

// pass lets time pass.
func (s *stage) pass() {
	if s.lanes > 0 {
		s.row("", "")
	}
}

// row prints all lanes, with a text in one of them.
func (s *stage) row(name, text string) {
	width := s.width()
	if !s.headed {
		s.headed = true
		fmt.Fprint(s.out, strings.Repeat(" ", len(s.clock())+1))
		for _, n := range s.cast {
			fmt.Fprintf(s.out, "%-*s", width, n)
		}
		fmt.Fprintln(s.out)
	}
	var row strings.Builder
	for _, n := range s.cast {
		look, own := glyphs[s.looks[n]], ""
		if n == name {
			own = text
		}
		row.WriteString(s.paint(look.color, fmt.Sprintf("%s %-*.*s", look.glyph, width-2, width-2, own)))
	}
	fmt.Fprintf(s.out, "%s %s\n", s.clock(), strings.TrimRight(row.String(), " "))
}

func (s *stage) clock() string { return fmt.Sprintf("%6.2fs", time.Since(s.start).Seconds()) }

func (s *stage) paint(color, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}
