package process

import (
	"errors"
	"os"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/guestinit/output"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// stdio is the standard streams of a process to be: its ends, and ours in the process.
type stdio struct {
	child [3]int
	tty   bool
}

// open makes the standard streams. Our ends go into p and, until released, onto undo; closeChild closes the child's ends, which is due
// after the fork in any case.
func (s *Spec) open(p *Process, who *syscall.Credential, undo *lifecycle.Cleanup) (io stdio, closeChild func(), err error) {
	child := lifecycle.NewCleanup()
	defer func() {
		if err == nil {
			err = io.give(who)
		}
		if err != nil {
			child.Run()
		}
	}()
	if s.Terminal != nil {
		err = s.openTerminal(p, &io, undo, child)
		return io, child.Run, err
	}
	var in *os.File
	if s.Stdin {
		io.child[0], in, err = pipe(false, undo, child)
		if err == nil { // what is written at a time fits, where the system allows
			_, _ = unix.FcntlInt(uintptr(io.child[0]), unix.F_SETPIPE_SZ, MaxInput)
		}
	} else {
		io.child[0], err = openNull(syscall.O_RDONLY, child)
	}
	if err != nil {
		return io, nil, err
	}
	p.input = newInput(in, false, p.reaped)
	for i, to := range []*output.Stream{p.stdout, p.stderr} {
		if theirs := [2]*os.File{s.Stdout, s.Stderr}[i]; theirs != nil {
			io.child[i+1] = int(theirs.Fd()) //nolint:gosec // file descriptors are small
			continue
		}
		if [2]bool{s.DiscardStdout, s.DiscardStderr}[i] {
			if io.child[i+1], err = openNull(syscall.O_WRONLY, child); err != nil {
				return io, nil, err
			}
			continue
		}
		var from *os.File
		if io.child[i+1], from, err = pipe(true, undo, child); err != nil {
			return io, nil, err
		}
		p.readers = append(p.readers, newReader(from, to))
	}
	return io, child.Run, nil
}

// give makes the streams those of the user, who may open them by name.
func (io *stdio) give(who *syscall.Credential) error {
	if who == nil {
		return nil
	}
	for _, fd := range io.child {
		var st syscall.Stat_t
		if err := syscall.Fstat(fd, &st); err != nil {
			return err
		}
		if st.Mode&syscall.S_IFMT == syscall.S_IFIFO || io.tty {
			if err := syscall.Fchown(fd, int(who.Uid), -1); err != nil {
				return err
			}
		}
	}
	return nil
}

func openNull(mode int, child *lifecycle.Cleanup) (int, error) {
	fd, err := syscall.Open("/dev/null", mode|syscall.O_CLOEXEC, 0)
	addClose(child, fd, err)
	return fd, err
}

func (s *Spec) openTerminal(p *Process, io *stdio, undo, child *lifecycle.Cleanup) error {
	ours, theirs, err := pty.Open()
	if err != nil {
		return err
	}
	undo.Add(func() { _ = ours.Close() })
	child.Add(func() { _ = theirs.Close() })
	if err := setSize(ours, s.Terminal); err != nil {
		return err
	}
	fd := int(theirs.Fd()) //nolint:gosec // file descriptors are small
	io.child, io.tty = [3]int{fd, fd, fd}, true
	p.tty, p.input = ours, newInput(ours, true, p.reaped)
	p.readers = []*reader{newReader(ours, p.stdout)}
	return nil
}

// pipe makes a pipe of a child's end and ours, which reads if read.
func pipe(read bool, undo, child *lifecycle.Cleanup) (theirs int, ours *os.File, err error) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		return 0, nil, err
	}
	our, their := fds[0], fds[1]
	if !read {
		our, their = their, our
	}
	addClose(child, their, nil)
	if err := syscall.SetNonblock(our, true); err != nil {
		return 0, nil, errors.Join(err, syscall.Close(our))
	}
	ours = os.NewFile(uintptr(our), "pipe") //nolint:gosec // file descriptors are small
	undo.Add(func() { _ = ours.Close() })
	return their, ours, nil
}

func addClose(c *lifecycle.Cleanup, fd int, err error) {
	if err == nil {
		c.Add(func() { _ = syscall.Close(fd) })
	}
}
