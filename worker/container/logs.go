package container

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/skerry-dev/skerry/internal/payload"
)

// MaxLine is the longest line handed to a LogSink in one piece, in bytes; longer ones are cut.
const MaxLine = 64 << 10

// copyOutput hands all that the runner writes to the log sink, line by line, and then says that nothing more comes.
func (l *life) copyOutput(ctx context.Context, guest Guest) {
	sink, id := l.host.cfg.Logs, l.spec.ID
	defer sink.EOF(id)
	write := func(stderr bool) func(LogEntry) {
		return func(e LogEntry) {
			e.At, e.Stderr = time.Now(), stderr
			sink.Write(id, e)
			l.copied.Add(1)
		}
	}
	out, errs := &lines{write: write(false)}, &lines{write: write(true)}
	err := guest.Output(ctx, runnerProcess, func(chunk Chunk) error {
		out.drop(chunk.StdoutDropped)
		out.add(chunk.Stdout)
		errs.drop(chunk.StderrDropped)
		errs.add(chunk.Stderr)
		return nil
	})
	out.end()
	errs.end()
	if err != nil { // the end of the link, which is the end of the container
		text := []byte("the container ended before all of its output was read: some may be missing here\n")
		sink.Write(id, LogEntry{At: time.Now(), Text: text, System: true})
	}
}

// The runner says in the streams which input writes, by a control sequence in front of what it writes: ESC ] number ; parameters BEL.
const (
	markBegin = "\x1b]777"
	// markInput has a call's id and an index, or nothing.
	markInput = "0"
	// markTerminal has the path of a socket that waits for a terminal.
	markTerminal = "1"
	markEnd      = '\a'
	// maxMark is how long a control sequence may be; what is longer is text.
	maxMark = 160
)

// lines cuts a stream into lines, and takes the control sequences out.
type lines struct {
	write func(LogEntry)
	rest  []byte      // of a line that is not complete
	mark  []byte      // of a control sequence that is not complete
	input payload.Key // who writes
}

// add takes more of the stream and passes on the lines that are complete.
func (l *lines) add(data []byte) {
	for len(data) > 0 {
		if len(l.mark) > 0 {
			data = l.addMark(data)
			continue
		}
		text := data
		if i := bytes.IndexByte(data, markBegin[0]); i >= 0 {
			text = data[:i]
		}
		l.addText(text)
		if data = data[len(text):]; len(data) > 0 {
			l.mark, data = append(l.mark, data[0]), data[1:]
		}
	}
}

// addMark takes more of what may be a control sequence, and returns what is not of it.
func (l *lines) addMark(data []byte) []byte {
	for i, c := range data {
		n := len(l.mark)
		if n < len(markBegin) && c != markBegin[n] || n >= maxMark || c == '\n' {
			l.markIsText()
			return data[i:]
		}
		l.mark = append(l.mark, c)
		if c == markEnd {
			if !l.obey(string(l.mark[len(markBegin) : len(l.mark)-1])) {
				l.markIsText()
			}
			l.mark = l.mark[:0]
			return data[i+1:]
		}
	}
	return nil
}

// markIsText passes on what has turned out to be no control sequence.
func (l *lines) markIsText() {
	text := l.mark
	l.mark = nil
	l.addText(text)
}

// obey does what a control sequence says; false if it says nothing that is known.
func (l *lines) obey(text string) bool {
	kind, rest, ok := cut(text)
	switch {
	case !ok:
		return false
	case kind == markTerminal && rest != "":
		l.flush()
		l.write(LogEntry{WantsTerminal: rest, Input: l.input})
		return true
	case kind != markInput:
		return false
	}
	call, index, ok := cut(rest)
	var next payload.Key
	if call != "" {
		n, err := strconv.ParseUint(index, 10, 32)
		if err != nil {
			return false
		}
		next = payload.Key{CallID: call, Index: uint32(n)}
	}
	if ok && next != l.input {
		l.flush()
		l.input = next
	}
	return ok
}

// cut splits at the first semicolon.
func cut(text string) (before, after string, ok bool) {
	for i := range len(text) {
		if text[i] == ';' {
			return text[:i], text[i+1:], true
		}
	}
	return text, "", false
}

// addText takes text of the one who writes.
func (l *lines) addText(data []byte) {
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n') + 1
		if end == 0 {
			end = len(data)
		}
		end = min(end, MaxLine-len(l.rest))
		l.rest = append(l.rest, data[:end]...)
		data = data[end:]
		switch {
		case l.rest[len(l.rest)-1] == '\n':
			l.flush()
		case len(l.rest) == MaxLine:
			l.cutLine()
		}
	}
}

// cutLine passes on a piece of a long line that ends between two characters.
func (l *lines) cutLine() {
	n := LineLength(l.rest)
	tail := bytes.Clone(l.rest[n:])
	l.rest = l.rest[:n]
	l.flush()
	l.rest = append(l.rest, tail...)
}

// drop says in the stream that n bytes are missing.
func (l *lines) drop(n uint64) {
	if n > 0 {
		l.markIsText()
		l.flush()
		l.input = payload.Key{} // the mark of who writes may be among what is missing
		l.write(LogEntry{Text: Missing(n), System: true})
	}
}

// Missing says in a log that n bytes are missing.
func Missing(n uint64) []byte {
	return fmt.Appendf(nil, "%d bytes of output are missing here: they were written faster than they could be stored\n", n)
}

// LineLength returns how long the first line of data is, with its end; at most MaxLine, and then it ends between two characters.
func LineLength(data []byte) int {
	if i := bytes.IndexByte(data[:min(len(data), MaxLine)], '\n'); i >= 0 {
		return i + 1
	}
	n := min(len(data), MaxLine)
	for i := 1; i < utf8.UTFMax && i < n; i++ {
		if c := data[n-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(data[n-i : n]) {
				n -= i
			}
			break
		}
	}
	return n
}

// flush passes on what there is of a line.
func (l *lines) flush() {
	if len(l.rest) > 0 {
		l.write(LogEntry{Text: l.rest, Input: l.input})
		l.rest = l.rest[:0]
	}
}

// end passes on what is left of the stream.
func (l *lines) end() {
	l.markIsText()
	l.flush()
}
