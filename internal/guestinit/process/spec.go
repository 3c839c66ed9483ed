package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/guestinit/account"
	"github.com/skerry-dev/skerry/internal/guestinit/output"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// maxArgv is how long a program and its arguments may be together, in bytes.
const maxArgv = 128 << 10

// Spec is a process to start.
type Spec struct {
	ID            string            // chosen by the caller; empty: it is kept by the caller alone
	Argv          []string          // program and arguments; the program is looked up in Env's PATH
	Env           map[string]string // the whole environment
	Workdir       string            // "/" if empty
	MakeWorkdir   bool              // make Workdir if it is missing
	Terminal      *unix.Winsize     // a terminal of this size; nil: pipes
	Stdin         bool              // a pipe, else /dev/null; a terminal is one by itself
	DiscardStdout bool              // /dev/null; a terminal knows none of these two
	DiscardStderr bool
	Stdout        *os.File      // the caller's, in place of what is kept; nil: kept
	Stderr        *os.File      // likewise; a terminal knows none of these
	Files         []*os.File    // the caller's, from descriptor 3 on
	User          string        // name or number of the container's; empty: root
	Timeout       time.Duration // it is killed after this, with its group; 0: never
	Client        bool          // it counts as activity
}

// fork starts the process in a session and process group of its own. The caller holds the table's lock. Errors: fault.Invalid,
// fault.NotFound for the program or the working directory.
func (s *Spec) fork(outputs *output.Store) (*Process, error) {
	who, err := s.become()
	if err != nil {
		return nil, err
	}
	path, err := s.resolve()
	if err != nil {
		return nil, err
	}
	p := &Process{stdout: outputs.NewStream(), stderr: outputs.NewStream(), reaped: make(chan struct{}), done: make(chan struct{})}
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	io, closeChild, err := s.open(p, who, undo)
	if err != nil {
		return nil, fault.New(fault.Exhausted, "process %q: %w", s.ID, err)
	}
	defer closeChild()
	env := make([]string, 0, len(s.Env))
	for k, v := range s.Env {
		env = append(env, k+"="+v)
	}
	files := []uintptr{uintptr(io.child[0]), uintptr(io.child[1]), uintptr(io.child[2])}
	for _, f := range s.Files {
		files = append(files, f.Fd())
	}
	p.spec, p.startedAt = *s, time.Now()
	p.pid, err = syscall.ForkExec(path, s.Argv, &syscall.ProcAttr{
		Dir: s.Workdir, Env: env, Files: files,
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: io.tty, Credential: who},
	})
	if err != nil {
		return nil, s.execError(err)
	}
	undo.Release()
	p.spec.Env, p.spec.Files, p.spec.Stdout, p.spec.Stderr = nil, nil, nil, nil // secrets, and what is the caller's
	for _, r := range p.readers {
		go r.pump()
	}
	return p, nil
}

// become finds who the process runs as, nil for root, and gives its environment what a login would.
func (s *Spec) become() (*syscall.Credential, error) {
	if s.User == "" || s.User == "root" || s.User == "0" {
		return nil, nil
	}
	who, err := account.Lookup(s.User)
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "process %q: %w", s.ID, err)
	}
	env := map[string]string{"HOME": who.Home, "USER": who.Name, "LOGNAME": who.Name}
	for k, v := range s.Env {
		if k != "HOME" || v != "/root" { // root's own is not theirs
			env[k] = v
		}
	}
	s.Env = env
	return who.Credential(), nil
}

func (s *Spec) execError(err error) error {
	kind := fault.Internal
	switch {
	case errors.Is(err, syscall.ENOENT):
		kind = fault.NotFound // also a script whose interpreter is missing
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.ENOEXEC), errors.Is(err, syscall.EINVAL):
		kind = fault.Invalid
	case errors.Is(err, syscall.E2BIG), errors.Is(err, syscall.ENAMETOOLONG): // gVisor says the latter of a long argument
		return fault.New(fault.Invalid, "process %q: start %q: an argument or variable is larger than 128 KiB, or all together than the"+
			" kernel takes (%w); hand it over in a file or on standard input", s.ID, s.Argv[0], err)
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM):
		kind = fault.Exhausted
	}
	return fault.New(kind, "process %q: start %q: %w", s.ID, s.Argv[0], err)
}

// resolve checks the spec, and finds the working directory and the program.
func (s *Spec) resolve() (path string, err error) {
	size := 0
	for _, a := range s.Argv {
		size += len(a) + 1
	}
	if len(s.Argv) == 0 || s.Argv[0] == "" || size > maxArgv {
		return "", fault.New(fault.Invalid, "process %q: want a program and arguments of at most %d bytes", s.ID, maxArgv)
	}
	if s.Workdir == "" {
		s.Workdir = "/"
	}
	if s.MakeWorkdir {
		if err := os.MkdirAll(s.Workdir, 0o755); err != nil { //nolint:gosec // a folder of the container, as mkdir makes it
			return "", fault.New(fault.Invalid, "process %q: make the working directory: %w", s.ID, err)
		}
	}
	if st, err := os.Stat(s.Workdir); err != nil || !st.IsDir() {
		return "", fault.New(fault.NotFound, "process %q: working directory %q: no such directory", s.ID, s.Workdir)
	}
	path, err = lookPath(s.Argv[0], s.Workdir, s.Env["PATH"])
	if err != nil {
		return "", fault.New(fault.NotFound, "process %q: %w", s.ID, err)
	}
	return path, nil
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
