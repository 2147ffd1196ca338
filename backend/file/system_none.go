//go:build !(linux || darwin || freebsd)

package file

import (
	"errors"
	"os"
)

// New refuses to work on these systems, so that nothing below is ever reached.

const (
	openFlags = 0
	supported = false
)

func tryLock(*os.File) (bool, error)      { return false, errors.ErrUnsupported }
func mark(*os.File, uint64) (bool, error) { return false, errors.ErrUnsupported }
func unlock(*os.File) error               { return errors.ErrUnsupported }
func held(*os.File, uint64) (bool, error) { return false, errors.ErrUnsupported }
func network(string) (string, error)      { return "", errors.ErrUnsupported }
