package process

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// MaxInput is how much one write may have, in bytes.
const MaxInput = 1 << 20

// input is what a process reads, written by offset: what was written before is dropped, so that a write may be repeated.
type input struct {
	file     *os.File      // standard input or the terminal; nil without
	terminal bool          // an end is a character
	ended    chan struct{} // closed when the process has ended
	lock     chan struct{} // holds one value while somebody writes; guards what follows
	offset   uint64
	over     bool   // nothing can be written any more
	overAt   uint64 // where the last end was written, plus 1; 0: nowhere
}

func newInput(file *os.File, terminal bool, ended chan struct{}) input {
	return input{file: file, terminal: terminal, ended: ended, lock: make(chan struct{}, 1)}
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// end closes the input of a process that has ended, and ends a write that is under way: it could not go on.
func (i *input) end() {
	if i.file == nil {
		return
	}
	_ = i.file.SetWriteDeadline(past) // fails if it is closed already
	i.lock <- struct{}{}
	i.over = true
	_ = i.file.Close() // nothing is buffered; closed already after an end of input
	<-i.lock
}

// Append gives the process input behind all that it has, however much one has written before, and an end after it if eof.
// Errors: as WriteAt.
func (p *Process) Append(ctx context.Context, data []byte, eof bool) error {
	_, err := p.input.write(ctx, p.ID(), nil, data, eof)
	return err
}

// WriteAt gives the process data, whose first byte has this offset in all of its input, and an end after it if eof. It returns the offset
// that was reached once the process's pipe has taken the data; also with an error. Errors: fault.Precondition if there is no input or it is
// closed, fault.Invalid for an offset beyond what was written.
func (p *Process) WriteAt(ctx context.Context, offset uint64, data []byte, eof bool) (uint64, error) {
	return p.input.write(ctx, p.ID(), &offset, data, eof)
}

func (i *input) write(ctx context.Context, id string, at *uint64, data []byte, eof bool) (uint64, error) {
	if i.file == nil {
		return 0, fault.New(fault.Precondition, "process %q: standard input is closed", id)
	}
	select {
	case i.lock <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	defer func() { <-i.lock }()
	if at == nil {
		at = &i.offset
	}
	if *at > i.offset {
		return i.offset, fault.New(fault.Invalid, "process %q: input at %d lies beyond what was written, %d bytes; write that first", id, *at, i.offset)
	}
	end := *at + uint64(len(data))
	data = data[min(i.offset-*at, uint64(len(data))):]
	eof = eof && i.overAt != end+1
	if len(data) == 0 && !eof {
		return i.offset, nil
	}
	if i.over || isClosed(i.ended) {
		return i.offset, fault.New(fault.Precondition, "process %q: standard input is closed", id)
	}
	return i.offset, i.put(ctx, id, data, eof)
}

// put writes what is new. The lock is held.
func (i *input) put(ctx context.Context, id string, data []byte, eof bool) error {
	stop := context.AfterFunc(ctx, func() { _ = i.file.SetWriteDeadline(past) })
	n, err := i.file.Write(data)
	i.offset += uint64(n) //nolint:gosec // counts are positive
	if err == nil && eof {
		err = i.finish()
	}
	if !stop() {
		err := errors.Join(context.Cause(ctx), i.file.SetWriteDeadline(time.Time{}))
		if isClosed(i.ended) { // it may have set its deadline before we took ours away
			_ = i.file.SetWriteDeadline(past)
		}
		return err
	}
	if err != nil {
		return fault.New(fault.Precondition, "process %q: standard input: %w", id, err)
	}
	return nil
}

// finish says that nothing more comes.
func (i *input) finish() error {
	i.overAt = i.offset + 1
	if i.terminal {
		_, err := i.file.Write([]byte{4}) // ^D: a terminal's end of input
		return err
	}
	i.over = true
	return i.file.Close()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
