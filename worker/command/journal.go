package command

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"sync"

	"github.com/skerry-dev/skerry/worker/container"
)

const (
	// frameBytes is what a frame takes in a journal.
	frameBytes = 3 * 8
	// maxFrames is how many frames may be on their way; far more than fit into what is held of one sandbox.
	maxFrames = 1 << 12
)

// Journal is how far a command's output has come: the last frame that the gateway has, and those on their way to it. Its file holds a count, the
// frames, and a checksum. It is safe for concurrent use.
type Journal struct {
	path string

	mu           sync.Mutex
	acknowledged container.Frame
	sealed       []container.Frame // after acknowledged, in order
	closed       bool
}

var _ container.Journal = (*Journal)(nil)

// NewJournal returns a journal at its beginning, which is kept in a file.
func NewJournal(path string) *Journal { return &Journal{path: path} }

// OpenJournal reads a journal. One that is not there, or of which an end of the host has left nothing sensible, is at the beginning.
func OpenJournal(path string) (*Journal, error) {
	j := NewJournal(path)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, fmt.Errorf("output's journal: %w", err)
	}
	if frames, ok := parseJournal(data); ok {
		j.acknowledged, j.sealed = frames[0], frames[1:]
	}
	return j, nil
}

func parseJournal(data []byte) (frames []container.Frame, ok bool) {
	if len(data) < 8 {
		return nil, false
	}
	n := binary.LittleEndian.Uint64(data)
	if n == 0 || n > maxFrames || uint64(len(data)) < 8+n*frameBytes+4 {
		return nil, false
	}
	body := data[:8+n*frameBytes]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(data[len(body):]) {
		return nil, false
	}
	for at := 8; at < len(body); at += frameBytes {
		frames = append(frames, container.Frame{
			Sequence: binary.LittleEndian.Uint64(body[at:]),
			After:    container.Offsets{Stdout: binary.LittleEndian.Uint64(body[at+8:]), Stderr: binary.LittleEndian.Uint64(body[at+16:])},
		})
	}
	return frames, true
}

// Last is the sequence of the last frame.
func (j *Journal) Last() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if n := len(j.sealed); n > 0 {
		return j.sealed[n-1].Sequence
	}
	return j.acknowledged.Sequence
}

// pending returns where the next process begins to read, and the frames that it sends again.
func (j *Journal) pending() (from container.Offsets, frames []container.Frame) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.acknowledged.After, append([]container.Frame(nil), j.sealed...)
}

// Sealed implements container.Journal.
func (j *Journal) Sealed(f container.Frame) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.sealed = append(j.sealed, f)
	return j.write()
}

// Acknowledged implements container.Journal.
func (j *Journal) Acknowledged(sequence uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.sealed) > 0 && j.sealed[0].Sequence <= sequence {
		j.acknowledged, j.sealed = j.sealed[0], j.sealed[1:]
	}
	return j.write()
}

// Remove ends the journal: its file is removed, and stays away.
func (j *Journal) Remove() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("output's journal: %w", err)
	}
	return nil
}

// write writes the file in one piece; the mutex is held.
func (j *Journal) write() error {
	if j.closed {
		return nil
	}
	le := binary.LittleEndian
	data := le.AppendUint64(make([]byte, 0, 8+(1+len(j.sealed))*frameBytes+4), uint64(1+len(j.sealed)))
	for _, f := range append([]container.Frame{j.acknowledged}, j.sealed...) {
		data = le.AppendUint64(le.AppendUint64(le.AppendUint64(data, f.Sequence), f.After.Stdout), f.After.Stderr)
	}
	data = le.AppendUint32(data, crc32.ChecksumIEEE(data))
	file, err := os.OpenFile(j.path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("output's journal: %w", err)
	}
	_, err = file.WriteAt(data, 0)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("output's journal: %w", err)
	}
	return nil
}
