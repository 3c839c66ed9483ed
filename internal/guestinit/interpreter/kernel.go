package interpreter

import (
	"bufio"
	"errors"
	"os"
	"sync"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/guestinit/process"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// kernel is an interpreter that runs.
type kernel struct {
	lang    language
	process *process.Process
	in      *os.File
	out     *bufio.Reader
	streams [2]*capture
	files   []*os.File
}

// startKernel starts an interpreter with these settings. Errors: those of process.Table.Start.
func startKernel(table *process.Table, lang language, kernels string, spec process.Spec) (*kernel, error) {
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	theirs := lifecycle.NewCleanup()
	defer theirs.Run()
	k := &kernel{lang: lang}
	pipe := func(read bool) (ours, their *os.File, err error) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		if ours, their = r, w; !read {
			ours, their = w, r
		}
		undo.Add(func() { _ = ours.Close() })
		theirs.Add(func() { _ = their.Close() })
		k.files = append(k.files, ours)
		return ours, their, nil
	}
	var child [4]*os.File
	for i, read := range []bool{true, true, false, true} { // stdout, stderr, 3 and 4
		ours, their, err := pipe(read)
		if err != nil {
			return nil, err
		}
		child[i] = their
		switch i {
		case 2:
			k.in = ours
		case 3:
			k.out = bufio.NewReader(ours)
		default:
			k.streams[i] = &capture{from: ours}
		}
	}
	spec.Stdout, spec.Stderr, spec.Files = child[0], child[1], child[2:]
	var err error
	for _, program := range lang.argv {
		spec.Argv = lang.command(program, kernels)
		if k.process, err = table.Start(spec); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	undo.Release()
	for _, c := range k.streams {
		go c.pump()
	}
	return k, nil
}

// close ends the interpreter and gives its files back.
func (k *kernel) close(table *process.Table) {
	_ = table.Signal(k.process, syscall.SIGKILL, true) // it has ended
	<-k.process.Done()
	for _, f := range k.files {
		_ = f.Close() // it has ended: there is nothing more to write
	}
}

// capture gives what code writes to the sink of the code that runs; what is written between pieces of code is thrown away.
type capture struct {
	from *os.File

	mu      sync.Mutex // held from a read until it was given on, so that pieces stay in order
	sink    func(text string)
	partial []byte // the beginning of a character
	buf     [16 << 10]byte
}

// pump reads until the file is closed.
func (c *capture) pump() {
	raw, err := c.from.SyscallConn()
	if err != nil {
		return
	}
	for {
		over := false
		err := raw.Read(func(fd uintptr) bool {
			var waits bool
			waits, over = c.take(int(fd)) //nolint:gosec // file descriptors are small
			return !waits
		})
		if err != nil || over {
			return
		}
	}
}

// take gives on what is there to read. It says whether there is nothing at the moment, or never again.
func (c *capture) take(fd int) (waits, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := unix.Read(fd, c.buf[:])
	switch {
	case errors.Is(err, unix.EAGAIN):
		return true, false
	case errors.Is(err, unix.EINTR):
		return false, false
	case err != nil || n <= 0:
		return false, true
	}
	if c.sink != nil {
		c.give(c.buf[:n])
	}
	return false, false
}

// give gives whole characters on.
func (c *capture) give(p []byte) {
	p = append(c.partial, p...)
	c.partial = nil
	for cut := 1; cut < utf8.UTFMax && cut <= len(p); cut++ {
		if tail := p[len(p)-cut:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				c.partial, p = append([]byte(nil), tail...), p[:len(p)-cut]
			}
			break
		}
	}
	if len(p) > 0 {
		c.sink(valid(p))
	}
}

// to sets where text goes. Before that what is there to read is given to where it went until now.
func (c *capture) to(sink func(text string)) {
	raw, err := c.from.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { // closed: there is nothing more
			for waits, over := false, false; !waits && !over; {
				waits, over = c.take(int(fd)) //nolint:gosec // file descriptors are small
			}
		})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sink != nil && len(c.partial) > 0 {
		c.sink(valid(c.partial))
	}
	c.partial, c.sink = nil, sink
}

// converse sends code and calls f with what comes of it, "done" last. Errors: the interpreter has ended, or says what makes no sense.
func (k *kernel) converse(code string, f func(message)) error {
	if err := k.lang.send(k.in, code); err != nil {
		return err
	}
	for {
		m, err := k.lang.take(k.out)
		if err != nil {
			return err
		}
		for next := &m; next != nil; next = next.then {
			if next.Type == "done" {
				return nil
			}
			f(*next)
		}
	}
}
