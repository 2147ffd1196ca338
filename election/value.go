package election

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// codec turns a leader's value into the bytes that stand in the store, and back.
type codec[T any] struct {
	encode func(T) ([]byte, error)
	decode func([]byte) (T, error)
}

var errNilValue = errors.New("value is a nil pointer")

// newCodec chooses how T is written: raw for string and []byte; by its own text or binary marshaler
// where it has both halves, looked for on the pointer, so that T and *T share one form; raw for other
// types of string or byte slice kind; else JSON.
func newCodec[T any]() codec[T] {
	t := reflect.TypeFor[T]()
	base := t
	if t.Kind() == reflect.Pointer {
		base = t.Elem()
	}
	ptr := reflect.PointerTo(base)
	raw := base.Kind() == reflect.String || base.Kind() == reflect.Slice && base.Elem().Kind() == reflect.Uint8
	bare := base == reflect.TypeFor[string]() || base == reflect.TypeFor[[]byte]()
	switch {
	case bare:
		return rawCodec[T]()
	case ptr.Implements(reflect.TypeFor[encoding.TextMarshaler]()) && ptr.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return ptrCodec[T](
			func(p any) ([]byte, error) { return p.(encoding.TextMarshaler).MarshalText() },
			func(p any, b []byte) error { return p.(encoding.TextUnmarshaler).UnmarshalText(b) })
	case ptr.Implements(reflect.TypeFor[encoding.BinaryMarshaler]()) && ptr.Implements(reflect.TypeFor[encoding.BinaryUnmarshaler]()):
		return ptrCodec[T](
			func(p any) ([]byte, error) { return p.(encoding.BinaryMarshaler).MarshalBinary() },
			func(p any, b []byte) error { return p.(encoding.BinaryUnmarshaler).UnmarshalBinary(b) })
	case raw:
		return rawCodec[T]()
	default:
		return ptrCodec[T](json.Marshal, func(p any, b []byte) error { return json.Unmarshal(b, p) })
	}
}

// ptrCodec works on a *Base, whether T is Base or *Base.
func ptrCodec[T any](encode func(any) ([]byte, error), decode func(any, []byte) error) codec[T] {
	isPtr := reflect.TypeFor[T]().Kind() == reflect.Pointer
	return codec[T]{
		encode: func(v T) ([]byte, error) {
			var p any = &v
			if isPtr {
				if p = v; reflect.ValueOf(p).IsNil() {
					return nil, errNilValue
				}
			}
			b, err := encode(p)
			if err != nil {
				return nil, fmt.Errorf("encode %T: %w", v, err)
			}
			return b, nil
		},
		decode: func(b []byte) (T, error) {
			var v T
			var p any = &v
			if isPtr {
				v = reflect.New(reflect.TypeFor[T]().Elem()).Interface().(T)
				p = v
			}
			if err := decode(p, b); err != nil {
				var zero T
				return zero, &valueError{what: fmt.Sprintf("decode %T from %d bytes", zero, len(b)), err: err}
			}
			return v, nil
		},
	}
}

// rawCodec serves types whose kind is string or []byte, and pointers to them.
func rawCodec[T any]() codec[T] {
	return ptrCodec[T](
		func(p any) ([]byte, error) {
			v := reflect.ValueOf(p).Elem()
			if v.Kind() == reflect.String {
				return []byte(v.String()), nil
			}
			return append([]byte(nil), v.Bytes()...), nil
		},
		func(p any, b []byte) error {
			v := reflect.ValueOf(p).Elem()
			if v.Kind() == reflect.String {
				v.SetString(string(b))
			} else {
				v.SetBytes(append([]byte(nil), b...))
			}
			return nil
		})
}

// valueError tells why a value in the store is no T. Decoders like to quote what they were given, which any
// hand may have written: so the text is bounded, and holds nothing that moves a cursor or turns a line.
type valueError struct {
	what string
	err  error
}

func (e *valueError) Error() string { return e.what + ": " + printable(e.err.Error()) }

func (e *valueError) Unwrap() error { return e.err }

// printable returns s with all that is not printable escaped, and its beginning alone when it is long.
func printable(s string) string {
	const most = 200
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case b.Len() >= most:
			b.WriteString("…")
			return b.String()
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
		s = s[size:]
	}
	return b.String()
}
