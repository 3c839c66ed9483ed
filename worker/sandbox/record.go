package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/command"
	"github.com/skerry-dev/skerry/worker/network/policy"
	"github.com/skerry-dev/skerry/worker/sidecar"
)

// record is what the disk has of a sandbox, so that the worker's next process goes on with it. A record is whole or not there; it is not synced:
// after a power cut no sandbox runs.
type record struct {
	Spec    Spec
	State   command.State
	End     *command.End `json:",omitempty"`
	Ready   bool
	Expires time.Time
	// Remaining is how long it may live when it is resumed; 0: without a limit.
	Remaining time.Duration `json:",omitempty"`
	Policy    policy.Policy
	Record    []byte           `json:",omitempty"`
	Box       *box.Record      `json:",omitempty"` // with what is to be given back, if that was not told
	Sidecars  []sidecar.Record `json:",omitempty"`
}

const (
	recordSuffix  = ".json"
	journalSuffix = ".out"
)

// files are the records of a worker's sandboxes, and journals of their output.
type files struct{ dir string }

func (f files) path(id string) string { return filepath.Join(f.dir, id+recordSuffix) }

func (f files) journal(id string) string { return filepath.Join(f.dir, id+journalSuffix) }

// save writes a record in place of the one before.
func (f files) save(r *record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	path := f.path(r.Spec.ID)
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// remove removes a sandbox's record.
func (f files) remove(id string) error {
	var errs []error
	for _, path := range []string{f.path(id), f.path(id) + ".tmp"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// load reads all records. Files that are none are removed: what they were of is unknown to everybody.
func (f files) load() (records []*record, err error) {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	known := map[string]bool{}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), recordSuffix)
		if !ok {
			continue
		}
		data, err := os.ReadFile(filepath.Join(f.dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("records: %w", err)
		}
		r := &record{}
		if err := json.Unmarshal(data, r); err == nil && r.Spec.ID == id && ident.Check(ident.Sandbox, id) == nil {
			records = append(records, r)
			known[id] = true
			for _, c := range r.Sidecars {
				known[c.Spec.ID] = true
			}
		}
	}
	var errs []error
	for _, e := range entries {
		id, suffix, _ := strings.Cut(e.Name(), ".")
		if !known[id] || "."+suffix != recordSuffix && "."+suffix != journalSuffix {
			errs = append(errs, os.RemoveAll(filepath.Join(f.dir, e.Name())))
		}
	}
	return records, errors.Join(errs...)
}

// save writes the sandbox's record as it is now.
func (s *Sandbox) save() error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	r := &record{Spec: s.spec, State: s.state, End: s.end, Ready: s.ready, Expires: s.expires, Remaining: s.remaining, Policy: s.policy, Record: s.record}
	if s.ending != nil {
		r.State, r.End = command.Ended, s.ending
	}
	if s.box != nil {
		b := s.box.Record()
		r.Box = &b
	}
	r.Sidecars = s.sidecars.Records()
	forgotten := s.forgotten
	s.mu.Unlock()
	if forgotten {
		return nil
	}
	if err := s.host.files.save(r); err != nil {
		return fmt.Errorf("sandbox %q: %w", s.spec.ID, err)
	}
	return nil
}

// forget removes the sandbox's record for good.
func (s *Sandbox) forget() error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	s.forgotten = true
	s.mu.Unlock()
	return errors.Join(s.journal.Remove(), s.sidecars.Forget(), s.host.files.remove(s.spec.ID))
}
