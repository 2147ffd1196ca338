package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

// record is what a term's file says. The file is one line of JSON, the value byte for byte, and a line with
// the checksum of both, so that people can read it and a torn one is told:
//
//	{"hustings":1,"key":"service/leader","token":1795245210123456,"state":"leading","pid":4711,…}
//	10.0.0.7:2377
//	1c291ca3
//
// The token stands in the file's name as well, which is where it counts: the name cannot be torn.
type record struct {
	header
	value []byte
}

type header struct {
	Format  int       `json:"hustings"`
	Key     string    `json:"key"`
	Token   uint64    `json:"token"`
	State   string    `json:"state"`
	Name    string    `json:"name,omitempty"`
	PID     int       `json:"pid"`
	Session string    `json:"session"`
	Since   time.Time `json:"since"`
}

const (
	format        = 1
	stateLeading  = "leading"
	stateResigned = "resigned"

	maxHeaderLen = 4 << 10 // a name of MaxNameLen bytes, escaped, and a key fit
	sumLen       = 10      // a line feed, eight hex digits, a line feed
	maxRecordLen = maxHeaderLen + MaxValueLen + sumLen
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (r record) encode() ([]byte, error) {
	head, err := json.Marshal(r.header)
	if err != nil {
		return nil, err
	}
	data := make([]byte, 0, len(head)+1+len(r.value)+sumLen)
	data = append(data, head...)
	data = append(data, '\n')
	data = append(data, r.value...)
	return fmt.Appendf(data, "\n%08x\n", crc32.Checksum(data, castagnoli)), nil
}

// errDamaged says that a term's file is not what this package wrote, or not yet all of it.
var errDamaged = errors.New("the record is torn or was not written by this package")

// decode reads what encode wrote, and nothing else. The value is part of data.
func decode(data []byte) (record, error) {
	if len(data) < sumLen || len(data) > maxRecordLen {
		return record{}, fmt.Errorf("%w: it has %d bytes", errDamaged, len(data))
	}
	body, sum := data[:len(data)-sumLen], data[len(data)-sumLen:]
	if want := fmt.Appendf(nil, "\n%08x\n", crc32.Checksum(body, castagnoli)); !bytes.Equal(sum, want) {
		return record{}, fmt.Errorf("%w: its checksum is wrong", errDamaged)
	}
	head, value, ok := bytes.Cut(body, []byte{'\n'})
	if !ok || len(head) > maxHeaderLen || len(value) > MaxValueLen {
		return record{}, fmt.Errorf("%w: it has no header", errDamaged)
	}
	r := record{value: value}
	if err := json.Unmarshal(head, &r.header); err != nil {
		return record{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	switch {
	case r.Format != format:
		return record{}, fmt.Errorf("%w: it has format %d, known is %d", errDamaged, r.Format, format)
	case r.Token < 1 || r.Token > math.MaxInt64:
		return record{}, fmt.Errorf("%w: its token is %d", errDamaged, r.Token)
	case r.State != stateLeading && r.State != stateResigned:
		return record{}, fmt.Errorf("%w: its state is %q", errDamaged, r.State)
	}
	return r, nil
}
