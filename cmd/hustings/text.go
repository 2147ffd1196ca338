package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// shownBytes is how much of a value is shown to people.
const shownBytes = 200

// quoted shows a value to a person. It was written by whoever may write to the store, and a terminal
// obeys what it is sent.
func quoted(value []byte) string {
	if len(value) <= shownBytes {
		return strconv.Quote(string(value))
	}
	return fmt.Sprintf("%s… (%d bytes)", strconv.Quote(string(value[:shownBytes])), len(value))
}

// short bounds a value for the log, which quotes by itself.
func short(value string) string {
	if len(value) <= shownBytes {
		return value
	}
	return fmt.Sprintf("%s… (%d bytes)", value[:shownBytes], len(value))
}

// printable is a message without anything that a terminal obeys, but line breaks.
func printable(text string) string {
	plain := func(r rune) bool { return r == '\n' || unicode.IsPrint(r) && r != utf8.RuneError }
	if !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	var s strings.Builder
	for _, r := range text {
		if plain(r) {
			s.WriteRune(r)
		} else {
			q := strconv.QuoteRune(r)
			s.WriteString(q[1 : len(q)-1])
		}
	}
	return s.String()
}
