// Package fileurl opens elections among the processes of one machine by URL: file:///var/lib/hustings?ttl=5s.
// See package backendurl for all that such a URL can say.
package fileurl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/backend/file"
	"github.com/hustings-go/hustings/retry"
)

// Opener opens URLs that begin with file://.
func Opener() backendurl.Opener {
	return backendurl.Opener{
		Scheme: "file",
		Path:   "the folder of the files",
		Params: []backendurl.Param{
			{Name: "mode", Usage: "permissions of new files, in octal (default 0600; 0660 for the users of a group)"},
			{Name: "unsafe-network-fs", Usage: "true: take a network file system, whose locks may hold nobody back"},
		},
		Example: "file:///var/lib/hustings?ttl=5s",
		Open:    open,
	}
}

func open(_ context.Context, u *backendurl.URL) (*backendurl.Store, error) {
	dir := filepath.FromSlash(u.Path())
	if dir == "" || dir == string(filepath.Separator) {
		return nil, retry.Permanent(errors.New("file: the URL names no folder: file:///var/lib/hustings"))
	}
	opts := []file.Option{file.WithName(u.Param("name"))}
	if u.TTL() != 0 {
		opts = append(opts, file.WithTTL(u.TTL()))
	}
	if mode := u.Param("mode"); mode != "" {
		n, err := strconv.ParseUint(mode, 8, 32)
		if err != nil {
			return nil, retry.Permanent(errors.New("file: mode is an octal number, such as 0660"))
		}
		opts = append(opts, file.WithFileMode(fs.FileMode(n)))
	}
	switch u.Param("unsafe-network-fs") {
	case "", "false":
	case "true":
		opts = append(opts, file.WithUnsafeNetworkFS())
	default:
		return nil, retry.Permanent(errors.New("file: unsafe-network-fs is true or false"))
	}
	b, err := file.New(dir, opts...)
	if err != nil {
		return nil, err
	}
	return &backendurl.Store{
		Backend: b,
		Inspect: func(context.Context) []backendurl.Finding {
			return []backendurl.Finding{{Text: fmt.Sprintf("the folder is %s", b.Dir())}}
		},
	}, nil
}
