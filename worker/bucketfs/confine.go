package bucketfs

import (
	"crypto/x509"
	"errors"
	"os"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

// confine takes from the process what it does not need: it becomes a user that owns nothing but its cache, in a folder where there is nothing
// else.
func confine(root string, user int) error {
	debug.SetMemoryLimit(memoryGoal)
	if _, err := x509.SystemCertPool(); err != nil { // kept by the library, for it can't be read later
		return err
	}
	if err := errors.Join(
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}),
		unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: dataLimit, Max: dataLimit}),
		syscall.Chroot(root), os.Chdir("/"),
	); err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(user), syscall.Setuid(user)); err != nil {
		return err
	}
	if _, _, number := syscall.AllThreadsSyscall6(syscall.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); number != 0 {
		return number
	}
	// No other process of its user may look into it.
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
