package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
)

// pidFile is the lock on a data folder: the file is locked as long as its process lives, whatever kills it.
type pidFile struct{ file *os.File }

// lockPID takes the lock and writes this process's id. Errors: fault.Exists where another skerryd has it.
func lockPID(path string) (*pidFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("pid file: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			pid := readPID(f)
			_ = f.Close() // only read
			return nil, fault.New(fault.Exists, "data folder %q: skerryd runs on it as process %s; stop that with skerryd down, or choose another with --data",
				filepath.Dir(path), pid)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("pid file %q: %w", path, err), f.Close())
		}
		// Between open and lock, the one before may have removed the file: a lock on that is worth nothing.
		if same(f, path) {
			return writePID(f)
		}
		_ = f.Close() // unlinked
	}
}

func writePID(f *os.File) (*pidFile, error) {
	err := f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pid file %q: %w", f.Name(), err), f.Close())
	}
	return &pidFile{file: f}, nil
}

func same(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(mine, there)
}

func readPID(f *os.File) string {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0) // a short file is what is expected
	if pid := strings.TrimSpace(string(b[:n])); pid != "" {
		return pid
	}
	return "(just starting)"
}

// release removes the file, then gives the lock back.
func (p *pidFile) release() error {
	return errors.Join(os.Remove(p.file.Name()), p.file.Close())
}

// running opens the process that holds the lock, or returns -1 if none does.
func running(path string) (pidfd, pid int, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, 0, nil
	}
	if err != nil {
		return -1, 0, fmt.Errorf("pid file: %w", err)
	}
	defer f.Close() // only read
	if held, err := locked(f); err != nil || !held {
		return -1, 0, err
	}
	text := readPID(f)
	pid, err = strconv.Atoi(text)
	if err != nil {
		return -1, 0, fault.New(fault.Unavailable, "pid file %q: skerryd is %s; try again", path, text)
	}
	pidfd, err = unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, 0, nil
	}
	if err != nil {
		return -1, 0, fmt.Errorf("process %d: %w", pid, err)
	}
	// If the lock is still held, the id has been that process's all the time and the descriptor is the right one's.
	if held, err := locked(f); err != nil || !held {
		return -1, 0, errors.Join(err, unix.Close(pidfd))
	}
	return pidfd, pid, nil
}

func locked(f *os.File) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("pid file %q: %w", f.Name(), err)
	}
	return false, unix.Flock(int(f.Fd()), unix.LOCK_UN)
}
