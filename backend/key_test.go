package backend_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

func ExampleValidateKey() {
	fmt.Println(backend.ValidateKey("service/swarm/leader"))
	fmt.Println(backend.ValidateKey("service//leader"))
	// Output:
	// <nil>
	// invalid key "service//leader": the segment at offset 8 is empty; a key is segments of A-Z a-z 0-9 . _ - joined by /, at most 255 bytes
}

func TestGoodKeys(t *testing.T) {
	for _, key := range []string{
		"a", "A", "0", "-", "_", "...", ".a", "a.", "..a", "a/b", "a/b/c/d", "a/...", "service/swarm/leader", "x.y-z_0/9",
		strings.Repeat("k", backend.MaxKeyLen), strings.Repeat("k/", backend.MaxKeyLen/2) + "k",
	} {
		if err := backend.ValidateKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestBadKeysAreRefusedWithAReason(t *testing.T) {
	for key, reason := range map[string]string{
		"":                                       "it is empty",
		"/":                                      "the segment at offset 0 is empty",
		"/a":                                     "the segment at offset 0 is empty",
		"a/":                                     "the segment at offset 2 is empty",
		"a//b":                                   "the segment at offset 2 is empty",
		".":                                      `the segment "." at offset 0`,
		"..":                                     `the segment ".." at offset 0`,
		"a/./b":                                  `the segment "." at offset 2`,
		"a/..":                                   `the segment ".." at offset 2`,
		"a b":                                    `the byte " " at offset 1`,
		"a\nb":                                   `the byte "\n" at offset 1`,
		"a\x00":                                  `the byte "\x00" at offset 1`,
		"\xff":                                   `the byte "\xff" at offset 0`,
		"né":                                     `the byte "\xc3" at offset 1`,
		"a*":                                     `the byte "*" at offset 1`,
		"a>":                                     `the byte ">" at offset 1`,
		"{a}":                                    `the byte "{" at offset 0`,
		"a:b":                                    `the byte ":" at offset 1`,
		`a\b`:                                    `the byte "\\" at offset 1`,
		"a@":                                     `the byte "@" at offset 1`, // next to A, Z, a, z, 0 and 9 in ASCII
		"a[":                                     `the byte "["`,
		"a`":                                     "the byte \"`\"",
		"a{":                                     `the byte "{"`,
		"а/кирилл":                               `the byte "\xd0" at offset 0`,
		strings.Repeat("k", backend.MaxKeyLen+1): "it has 256 bytes",
		strings.Repeat("\x1b", 1<<20):            "it has 1048576 bytes",
	} {
		err := backend.ValidateKey(key)
		switch {
		case err == nil:
			t.Errorf("%.40q is allowed", key)
		case !retry.IsPermanent(err):
			t.Errorf("%.40q: the error is not permanent: %v", key, err)
		case !strings.Contains(err.Error(), reason):
			t.Errorf("%.40q: error %q, must tell %q", key, err, reason)
		}
	}
}

// The grammar once more, written the other way.
var grammar = regexp.MustCompile(`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*\z`)

func allowed(key string) bool {
	if len(key) > 255 || !grammar.MatchString(key) {
		return false
	}
	padded := "/" + key + "/"
	return !strings.Contains(padded, "/./") && !strings.Contains(padded, "/../")
}

func FuzzValidateKey(f *testing.F) {
	for _, key := range []string{"", "a", "a/b", "a//b", "a/../b", "/", "a\n", "é", strings.Repeat("k/", 128), strings.Repeat("é", 40), strings.Repeat("k", 1<<12)} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		err := backend.ValidateKey(key)
		if want := allowed(key); (err == nil) != want {
			t.Fatalf("ValidateKey(%q) = %v, want an error: %t", key, err, !want)
		}
		if err == nil {
			return
		}
		message := err.Error()
		if !retry.IsPermanent(err) || len(message) > 600 || !utf8.ValidString(message) || strings.ContainsFunc(message, unicode.IsControl) {
			t.Fatalf("the error must be permanent and fit on a line of a terminal: %q", message)
		}
	})
}
