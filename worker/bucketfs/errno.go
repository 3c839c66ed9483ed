package bucketfs

import (
	"errors"
	"os"
	"syscall"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/vfs"
)

// numbers are what errors are to programs; all others are EIO.
var numbers = []struct {
	err    error
	number syscall.Errno
}{
	{vfs.ENOENT, syscall.ENOENT}, {fs.ErrorObjectNotFound, syscall.ENOENT}, {fs.ErrorDirNotFound, syscall.ENOENT},
	{vfs.EEXIST, syscall.EEXIST}, {vfs.ENOTEMPTY, syscall.ENOTEMPTY}, {fs.ErrorDirectoryNotEmpty, syscall.ENOTEMPTY},
	{vfs.EPERM, syscall.EPERM}, {vfs.EROFS, syscall.EROFS}, {vfs.EBADF, syscall.EBADF}, {vfs.ECLOSED, syscall.EBADF}, {vfs.EINVAL, syscall.EINVAL},
	{vfs.ENOSYS, syscall.ENOTSUP}, {fs.ErrorPermissionDenied, syscall.EACCES}, {os.ErrNotExist, syscall.ENOENT}, {os.ErrExist, syscall.EEXIST},
}

// errno is an error as programs see it; whether it has a number of its own.
func errno(err error) (number syscall.Errno, known bool) {
	if err == nil {
		return 0, true
	}
	for _, n := range numbers {
		if errors.Is(err, n.err) {
			return n.number, true
		}
	}
	var system syscall.Errno
	if errors.As(err, &system) && (system == syscall.ENOSPC || system == syscall.EFBIG) {
		return system, true
	}
	if _, cause := fserrors.Cause(err); cause != nil && !errors.Is(cause, err) {
		for _, n := range numbers {
			if errors.Is(cause, n.err) {
				return n.number, true
			}
		}
	}
	return syscall.EIO, false
}
