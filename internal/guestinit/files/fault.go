package files

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Kind is what kind of trouble there is with a file.
type Kind uint8

// The kinds.
const (
	Other Kind = iota
	NotFound
	IsDirectory
	NotDirectory
	AlreadyExists
	PermissionDenied
	NotEmpty
	TooLarge
	DiskFull
	NotSupported
)

// Error is trouble with a file. It wraps the fault kind that its Kind stands for.
type Error struct {
	Kind Kind
	Path string
	err  error
}

// Error says the path and the cause.
func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.err) }

// Unwrap returns the fault.
func (e *Error) Unwrap() []error { return []error{e.fault(), e.err} }

func (e *Error) fault() *fault.Kind {
	switch e.Kind {
	case NotFound:
		return fault.NotFound
	case AlreadyExists:
		return fault.Exists
	case PermissionDenied:
		return fault.Denied
	case DiskFull:
		return fault.Exhausted
	case Other:
		return fault.Invalid
	default:
		return fault.Precondition
	}
}

// errors of the system, by kind.
var byErrno = map[syscall.Errno]Kind{
	unix.ENOENT: NotFound, unix.EISDIR: IsDirectory, unix.ENOTDIR: NotDirectory, unix.EEXIST: AlreadyExists,
	unix.EACCES: PermissionDenied, unix.EPERM: PermissionDenied, unix.EROFS: PermissionDenied, unix.ENOTEMPTY: NotEmpty, unix.EFBIG: TooLarge,
	unix.ENOSPC: DiskFull, unix.EDQUOT: DiskFull, unix.EOPNOTSUPP: NotSupported, unix.EXDEV: NotSupported, unix.EINVAL: NotSupported,
	unix.EBUSY: NotSupported, unix.ENXIO: NotSupported, unix.ENODEV: NotSupported, unix.ETXTBSY: NotSupported, unix.ENOSYS: NotSupported,
}

// trouble makes an error about a path of what the system said; nil stays nil.
func trouble(path string, err error) error {
	if err == nil {
		return nil
	}
	if already := new(Error); errors.As(err, &already) {
		return err
	}
	kind := Other
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		kind, err = byErrno[errno], errno // the path is said once
	} else if errors.Is(err, fs.ErrNotExist) {
		kind = NotFound
	}
	return &Error{Kind: kind, Path: path, err: err}
}

// refuse makes an error of our own.
func refuse(kind Kind, path, format string, args ...any) error {
	return &Error{Kind: kind, Path: path, err: fmt.Errorf(format, args...)}
}
