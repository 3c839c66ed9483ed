package guestinit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// spec is a process to start.
type spec struct {
	id          string
	argv        []string
	env         map[string]string
	workdir     string
	makeWorkdir bool
	terminal    *unix.Winsize
	stdin       bool
}

// stdio is the standard streams of a process to be: its ends, and ours in the process.
type stdio struct {
	child [3]int
	tty   bool
}

// fork starts the process in a session and process group of its own. The caller holds the table's lock. Errors: fault.Invalid,
// fault.NotFound for the program or the working directory.
func (s *spec) fork() (*process, error) {
	path, dir, err := s.resolve()
	if err != nil {
		return nil, err
	}
	p := &process{id: s.id, stdout: newRing(ringLimit), stderr: newRing(ringLimit), reaped: make(chan struct{}), done: make(chan struct{})}
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	io, closeChild, err := s.open(p, undo)
	if err != nil {
		return nil, fault.New(fault.Exhausted, "process %q: %w", s.id, err)
	}
	defer closeChild()
	env := make([]string, 0, len(s.env))
	for k, v := range s.env {
		env = append(env, k+"="+v)
	}
	p.pid, err = syscall.ForkExec(path, s.argv, &syscall.ProcAttr{
		Dir: dir, Env: env, Files: []uintptr{uintptr(io.child[0]), uintptr(io.child[1]), uintptr(io.child[2])},
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: io.tty},
	})
	if err != nil {
		return nil, s.execError(err)
	}
	undo.Release()
	for _, r := range p.readers {
		go r.pump()
	}
	return p, nil
}

func (s *spec) execError(err error) error {
	kind := fault.Internal
	switch {
	case errors.Is(err, syscall.ENOENT):
		kind = fault.NotFound // also a script whose interpreter is missing
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.ENOEXEC), errors.Is(err, syscall.E2BIG), errors.Is(err, syscall.EINVAL):
		kind = fault.Invalid
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM):
		kind = fault.Exhausted
	}
	return fault.New(kind, "process %q: start %q: %w", s.id, s.argv[0], err)
}

// resolve checks the spec and finds the program and the working directory.
func (s *spec) resolve() (path, dir string, err error) {
	if s.id == "" || len(s.argv) == 0 || s.argv[0] == "" {
		return "", "", fault.New(fault.Invalid, "process %q: want an id and a program", s.id)
	}
	dir = s.workdir
	if dir == "" {
		dir = "/"
	}
	if s.makeWorkdir {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a folder of the container, as mkdir makes it
			return "", "", fault.New(fault.Invalid, "process %q: make the working directory: %w", s.id, err)
		}
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return "", "", fault.New(fault.NotFound, "process %q: working directory %q: no such directory", s.id, dir)
	}
	path, err = lookPath(s.argv[0], dir, s.env["PATH"])
	if err != nil {
		return "", "", fault.New(fault.NotFound, "process %q: %w", s.id, err)
	}
	return path, dir, nil
}

// lookPath finds a program as execvpe(3) does, in the PATH of the process to be.
func lookPath(program, dir, path string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil // relative to dir, for exec comes after chdir
	}
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	for _, d := range filepath.SplitList(path) {
		file := filepath.Join(d, program)
		if d == "" {
			file = "./" + program
		}
		onHost := file
		if !filepath.IsAbs(file) {
			onHost = filepath.Join(dir, file)
		}
		if st, err := os.Stat(onHost); err == nil && st.Mode().IsRegular() && unix.Access(onHost, unix.X_OK) == nil {
			return file, nil
		}
	}
	return "", fault.New(fault.NotFound, "program %q: not found in PATH %q", program, path)
}

// open makes the standard streams. Our ends go into p and, until released, onto undo; closeChild closes the child's ends, which is due
// after the fork in any case.
func (s *spec) open(p *process, undo *lifecycle.Cleanup) (io stdio, closeChild func(), err error) {
	child := lifecycle.NewCleanup()
	defer func() {
		if err != nil {
			child.Run()
		}
	}()
	if s.terminal != nil {
		err = s.openTerminal(p, &io, undo, child)
		return io, child.Run, err
	}
	if s.stdin {
		io.child[0], p.input, err = pipe(false, undo, child)
	} else {
		io.child[0], err = syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		addClose(child, io.child[0], err)
	}
	if err != nil {
		return io, nil, err
	}
	for i, to := range []*ring{p.stdout, p.stderr} {
		var from *os.File
		if io.child[i+1], from, err = pipe(true, undo, child); err != nil {
			return io, nil, err
		}
		p.readers = append(p.readers, newReader(from, to))
	}
	return io, child.Run, nil
}

func (s *spec) openTerminal(p *process, io *stdio, undo, child *lifecycle.Cleanup) error {
	ours, theirs, err := pty.Open()
	if err != nil {
		return err
	}
	undo.Add(func() { _ = ours.Close() })
	child.Add(func() { _ = theirs.Close() })
	if err := setSize(ours, s.terminal); err != nil {
		return err
	}
	fd := int(theirs.Fd()) //nolint:gosec // file descriptors are small
	io.child, io.tty = [3]int{fd, fd, fd}, true
	p.tty, p.input = ours, ours
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
