package file_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/hustings-go/hustings/backend/file"
	"github.com/hustings-go/hustings/retry"
)

// onDisk returns the record of a term with value, as it stands in its file.
func onDisk(t testing.TB, value string) []byte {
	t.Helper()
	dir := t.TempDir()
	resignLater := win(t, open(t, dir, file.WithName("näme \"quoted\"\n")), "a/b", value)
	data := readRecord(t, dir, "a+b")
	resign(t, resignLater)
	return data
}

// Whatever stands in the file, decoding does not panic, and what it takes is a record that was written whole.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("\n00000000\n"))
	f.Add([]byte("{\"hustings\":1,\"token\":1,\"state\":\"leading\"}\n\n1b0ecf0b\n"))
	for _, value := range []string{"", "value", "a\nb\n", "\x00\xff"} {
		whole := onDisk(f, value)
		f.Add(whole)
		f.Add(whole[:len(whole)/2])
		f.Add(bytes.Replace(whole, []byte("leading"), []byte("leadinG"), 1))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		token, value, err := file.Decode(data)
		if err != nil {
			return
		}
		if token < 1 || token > math.MaxInt64 {
			t.Errorf("token %d", token)
		}
		again, err := file.Reencode(data)
		if err != nil {
			t.Fatal(err)
		}
		token2, value2, err := file.Decode(again)
		if err != nil || token2 != token || !bytes.Equal(value2, value) {
			t.Errorf("written again, (%d, %q) is (%d, %q), error %v", token, value, token2, value2, err)
		}
	})
}

// Each single change of a record is noticed, wherever it is, and so is each way to cut it short.
func TestDamageIsNoticed(t *testing.T) {
	whole := onDisk(t, "the value")
	if _, value, err := file.Decode(whole); err != nil || string(value) != "the value" {
		t.Fatalf("value %q, error %v", value, err)
	}
	for i := range whole {
		if _, _, err := file.Decode(whole[:i]); err == nil {
			t.Errorf("the first %d of %d bytes were taken for a record", i, len(whole))
		}
		for bit := range 8 {
			bent := bytes.Clone(whole)
			bent[i] ^= 1 << bit
			if _, _, err := file.Decode(bent); err == nil {
				t.Errorf("bit %d of byte %d was changed unnoticed", bit, i)
			}
		}
	}
}

func TestNextToken(t *testing.T) {
	for _, tc := range []struct {
		newest uint64
		now    int64
		want   uint64
	}{
		{0, 0, 1},
		{0, -5, 1},
		{0, 1_700_000_000_000_000, 1_700_000_000_000_000},
		{7, 5, 8},
		{7, 7, 8},
		{7, 8, 8},
		{1_800_000_000_000_000, 1_700_000_000_000_000, 1_800_000_000_000_001}, // the clock was set back
		{math.MaxInt64 - 1, 0, math.MaxInt64},
	} {
		if got, err := file.NextToken(tc.newest, tc.now); err != nil || got != tc.want {
			t.Errorf("after %d at %d: %d, error %v, want %d", tc.newest, tc.now, got, err, tc.want)
		}
	}
	if got, err := file.NextToken(math.MaxInt64, 0); !retry.IsPermanent(err) {
		t.Errorf("after the highest token: %d, error %v, want a permanent one", got, err)
	}
}

func TestTokenOf(t *testing.T) {
	for name, want := range map[string]uint64{
		"term-0000000000000000001":  1,
		"term-9223372036854775807":  math.MaxInt64,
		"term-9223372036854775808":  0,
		"term-1":                    0,
		"term-":                     0,
		"term-+000000000000000001":  0,
		"term--000000000000000001":  0,
		"term-00000000000000000001": 0,
		"term-000000000000000000x":  0,
		"lock":                      0,
		"new-0000000000000000001":   0,
		strings.Repeat("9", 24):     0,
	} {
		if got := file.TokenOf(name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}
