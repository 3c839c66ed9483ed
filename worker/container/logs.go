package container

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// MaxLine is the longest line handed to a LogSink in one piece, in bytes; longer ones are cut.
const MaxLine = 64 << 10

// copyOutput hands all that the runner writes to the log sink, line by line, and then says that nothing more comes.
func (l *life) copyOutput(ctx context.Context, guest Guest) {
	sink, id := l.host.cfg.Logs, l.spec.ID
	defer sink.EOF(id)
	out, errs := &lines{}, &lines{}
	write := func(stderr bool) func([]byte) {
		return func(text []byte) { sink.Write(id, time.Now(), stderr, text) }
	}
	// The error is the end of the link, which is the end of the container: what came before is handed over all the same.
	_ = guest.Output(ctx, runnerProcess, func(chunk Chunk) error {
		out.drop(chunk.StdoutDropped, write(false))
		out.add(chunk.Stdout, write(false))
		errs.drop(chunk.StderrDropped, write(true))
		errs.add(chunk.Stderr, write(true))
		return nil
	})
	out.flush(write(false))
	errs.flush(write(true))
}

// lines cuts a stream into lines.
type lines struct{ rest []byte }

// add takes more of the stream and passes on the lines that are complete.
func (l *lines) add(data []byte, write func([]byte)) {
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n') + 1
		if end == 0 {
			end = len(data)
		}
		end = min(end, MaxLine-len(l.rest))
		l.rest = append(l.rest, data[:end]...)
		data = data[end:]
		if len(l.rest) == MaxLine || l.rest[len(l.rest)-1] == '\n' {
			l.flush(write)
		}
	}
}

// drop says in the stream that n bytes are missing.
func (l *lines) drop(n uint64, write func([]byte)) {
	if n > 0 {
		l.flush(write)
		write(fmt.Appendf(nil, "[%d bytes of output were lost: they were written faster than they could be sent]\n", n))
	}
}

// flush passes on what is left of the stream.
func (l *lines) flush(write func([]byte)) {
	if len(l.rest) > 0 {
		write(l.rest)
		l.rest = l.rest[:0]
	}
}
