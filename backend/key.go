package backend

import (
	"fmt"

	"github.com/hustings-go/hustings/retry"
)

// MaxKeyLen is the longest key allowed, in bytes.
const MaxKeyLen = 255

// ValidateKey reports whether key keeps the grammar that every store shares, so that an election can
// move from store to store under its name: segments of the characters A-Z, a-z, 0-9, '.', '_' and
// '-', joined by '/', at most MaxKeyLen bytes in all, no segment empty, "." or "..". The error is
// permanent and says what is wrong and what is allowed.
func ValidateKey(key string) error {
	bad := func(format string, args ...any) error {
		return retry.Permanent(fmt.Errorf("invalid key %s: %s; a key is segments of A-Z a-z 0-9 . _ - joined by /, at most %d bytes",
			quoteKey(key), fmt.Sprintf(format, args...), MaxKeyLen))
	}
	switch {
	case key == "":
		return bad("it is empty")
	case len(key) > MaxKeyLen:
		return bad("it has %d bytes", len(key))
	}
	start := 0
	for i := 0; i <= len(key); i++ {
		if i < len(key) && key[i] != '/' {
			if !keyByte(key[i]) {
				return bad("the byte %q at offset %d is not allowed", key[i:i+1], i)
			}
			continue
		}
		switch segment := key[start:i]; segment {
		case "":
			return bad("the segment at offset %d is empty", start)
		case ".", "..":
			return bad("the segment %q at offset %d is not allowed", segment, start)
		}
		start = i + 1
	}
	return nil
}

func keyByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	default:
		return c == '.' || c == '_' || c == '-'
	}
}

// quoteKey quotes a key for a message, which a megabyte of it would not serve.
func quoteKey(key string) string {
	const shown = 64
	if len(key) > shown {
		return fmt.Sprintf("%q…", key[:shown])
	}
	return fmt.Sprintf("%q", key)
}
