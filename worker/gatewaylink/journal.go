package gatewaylink

import "github.com/skerry-dev/skerry/worker/container"

// maxJournaled is how much output of a container with a journal is held for the gateway, in bytes: a container's init has the last MiB of each
// stream for the worker's next process.
const maxJournaled = 512 << 10

// logSource is a container whose output comes. The mutex of Logs guards it.
type logSource struct {
	sandbox  string            // that it is a further container of; or empty
	sequence uint64            // of its last frame
	journal  container.Journal // or nil
	after    container.Offsets // of what it has written
	bytes    int               // held
}

func (s *logSource) full() bool { return s.journal != nil && s.bytes >= maxJournaled }

// source returns what is known of a container.
func (l *Logs) source(containerID string) *logSource {
	s := l.sources[containerID]
	if s == nil {
		s = &logSource{}
		l.sources[containerID] = s
	}
	return s
}

// Keep implements container.JournaledSink.
func (l *Logs) Keep(of container.Source) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.source(of.ID)
	s.sandbox, s.journal, s.sequence = of.Sandbox, of.Journal, of.Last
}

// Again implements container.JournaledSink.
func (l *Logs) Again(containerID string, f container.Frame, entries []container.LogEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended() {
		return
	}
	src := l.source(containerID)
	frame := l.append(containerID, src, f)
	frame.sealed, frame.noted, src.after = true, true, f.After
	for _, e := range entries {
		l.add(frame, entryToProto(e))
	}
	l.signal()
}

// note notes a frame in its journal before it is sent for the first time. Only the sender calls it.
func (f *logFrame) note() error {
	if f.noted || f.source.journal == nil {
		return nil
	}
	if err := f.source.journal.Sealed(container.Frame{Sequence: f.msg.GetSequence(), After: f.after}); err != nil {
		return err
	}
	f.noted = true
	return nil
}
