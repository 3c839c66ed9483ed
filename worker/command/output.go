package command

import (
	"context"
	"time"
	"unicode/utf8"

	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/container"
)

// CopyParams say whose output goes where.
type CopyParams struct {
	ID      string // by which the sink knows it
	Sink    container.JournaledSink
	Journal *Journal
	// Left says, once the output has ended here, whether it goes on later, with this process or the next.
	Left func() bool
}

// Copy hands all that a command writes to the log sink, and then says that nothing more comes. It is where the worker's last process has come to
// that it begins. It returns at the end of the output, or of what the command runs in: a sink that is full must not keep what a dead one had.
func Copy(of Linked, p CopyParams) {
	o := newOutput(p.Sink, p.ID, p.Journal)
	ctx := context.Background()
	err := OnLink(ctx, of, func(g box.Guest) error {
		return g.Output(ctx, box.MainProcess, o.next(), func(c container.Chunk) error {
			o.add(c)
			return nil
		})
	})
	if !p.Left() {
		o.end(err != nil)
	}
}

// output cuts what a command writes into entries for the log sink.
type output struct {
	sink      container.JournaledSink
	id        string
	out, errs stream
	again     []container.Frame // that an earlier process has sealed, and the gateway has not acknowledged
	entries   []container.LogEntry
}

func newOutput(sink container.JournaledSink, id string, j *Journal) *output {
	from, again := j.pending()
	return &output{
		sink: sink, id: id, again: again,
		out:  stream{read: from.Stdout, done: from.Stdout},
		errs: stream{read: from.Stderr, done: from.Stderr, stderr: true},
	}
}

// next is where to read on.
func (o *output) next() container.Offsets {
	return container.Offsets{Stdout: o.out.read, Stderr: o.errs.read}
}

// add takes what the command has written.
func (o *output) add(c container.Chunk) {
	o.out.take(c.Stdout, c.StdoutDropped)
	o.errs.take(c.Stderr, c.StderrDropped)
	for len(o.again) > 0 {
		f := o.again[0]
		if o.out.read < f.After.Stdout || o.errs.read < f.After.Stderr {
			return // more of the frame comes
		}
		o.entries = nil
		o.out.cut(f.After.Stdout, true, o.keep)
		o.errs.cut(f.After.Stderr, true, o.keep)
		o.sink.Again(o.id, f, o.entries)
		o.entries, o.again = nil, o.again[1:]
	}
	o.out.cut(o.out.read, false, o.write)
	o.errs.cut(o.errs.read, false, o.write)
}

// end hands over what is left, and says that nothing more comes; broken says that there was more.
func (o *output) end(broken bool) {
	for _, f := range o.again {
		o.sink.Again(o.id, f, nil) // what was in it can't be read any more
	}
	o.out.cut(o.out.read, true, o.write)
	o.errs.cut(o.errs.read, true, o.write)
	if broken {
		o.write(container.LogEntry{
			At: time.Now(), Text: []byte("it ended before all of its output was read: some may be missing here\n"), System: true,
		})
	}
	o.sink.EOF(o.id)
}

func (o *output) keep(e container.LogEntry) { o.entries = append(o.entries, e) }

func (o *output) write(e container.LogEntry) {
	e.After = container.Offsets{Stdout: o.out.done, Stderr: o.errs.done}
	o.sink.Write(o.id, e)
}

// stream is one stream of a command.
type stream struct {
	stderr  bool
	read    uint64 // offset after what was taken
	done    uint64 // offset after what was cut off
	data    []byte // between the two, but for what is missing
	missing []gap  // in order
}

// gap is where bytes are missing before an offset.
type gap struct{ at, bytes uint64 }

func (s *stream) take(data []byte, dropped uint64) {
	if dropped > 0 {
		s.read += dropped
		s.missing = append(s.missing, gap{at: s.read, bytes: dropped})
	}
	s.data = append(s.data, data...)
	s.read += uint64(len(data))
}

// cut hands on what lies before an offset, as lines and what is written without a line's end as it comes. Unless all is wanted, the beginning of a
// character that is not complete stays.
func (s *stream) cut(to uint64, all bool, f func(container.LogEntry)) {
	for len(s.missing) > 0 && s.missing[0].at <= to {
		g := s.missing[0]
		s.lines(g.at-g.bytes, true, f)
		s.missing = s.missing[1:]
		s.done = g.at
		f(container.LogEntry{At: time.Now(), Text: container.Missing(g.bytes), System: true})
	}
	if len(s.missing) > 0 {
		to = min(to, s.missing[0].at-s.missing[0].bytes)
	}
	s.lines(to, all, f)
}

func (s *stream) lines(to uint64, all bool, f func(container.LogEntry)) {
	if to <= s.done {
		return
	}
	data := s.data[:min(to-s.done, uint64(len(s.data)))]
	if !all {
		data = data[:len(data)-incomplete(data)]
	}
	s.data = s.data[len(data):]
	for len(data) > 0 {
		n := container.LineLength(data)
		s.done += uint64(n) //nolint:gosec // a length
		f(container.LogEntry{At: time.Now(), Stderr: s.stderr, Text: data[:n]})
		data = data[n:]
	}
	if len(s.data) == 0 {
		s.data = nil // it shares what chunks came in
	}
}

// incomplete is how many bytes at the end begin a character that is not complete.
func incomplete(data []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(data); i++ {
		if c := data[len(data)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(data[len(data)-i:]) {
				return i
			}
			return 0
		}
	}
	return 0
}
