package dict

import (
	"context"
	"errors"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// popsInDoubt is how far before the last removal a crash may have broken one off: far longer than one takes.
const popsInDoubt = time.Minute

// Deps are the parts of a Service. All are required.
type Deps struct {
	Entries Entries
	Journal Journal
	Blobs   Blobs
}

// Service works with the entries of dicts that are known to exist. It is safe for concurrent use, and the only one of its stores.
type Service struct {
	d      Deps
	states states
}

// New returns a Service. Call Recover before anything else.
func New(d Deps) *Service { return &Service{d: d, states: states{m: map[string]*state{}}} }

// Recover finishes what a crash broke off.
func (s *Service) Recover(ctx context.Context) error {
	var pops []Pop
	err := s.d.Journal.Pops(ctx, popsInDoubt, func(p Pop) error {
		pops = append(pops, p)
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range pops {
		if err := s.d.Entries.RemoveEntry(ctx, p.Entry); err != nil {
			return err
		}
	}
	return s.finishAll(ctx, "")
}

// Get returns the value of a key, or a fault.NotFound.
func (s *Service) Get(ctx context.Context, dictID string, key Key) (payload.Payload, error) {
	var found Stored
	err := s.reading(ctx, dictID, func(*state) (err error) {
		found, err = s.entry(ctx, dictID, key)
		if err == nil && time.Since(found.At) > FreshFor {
			err = s.refresh(ctx, dictID, &found)
		}
		return err
	})
	return found.Value, err
}

func (s *Service) entry(ctx context.Context, dictID string, key Key) (Stored, error) {
	found, err := s.d.Entries.Entry(ctx, dictID, key.Slot())
	if err == nil && !found.Key.equal(key) {
		err = fault.New(fault.DataLoss, "dict %q: another key is stored where this one belongs", dictID)
	}
	return found, err
}

// refresh has an entry that was read live for another while.
func (s *Service) refresh(ctx context.Context, dictID string, e *Stored) error {
	if e.Value.Blob != nil {
		if err := s.d.Blobs.ClaimBlob(ctx, e.Value.Blob.Digest); err != nil {
			return err
		}
	}
	err := s.put(ctx, dictID, e.Entry, Condition{If: true, Place: e.Place})
	if errors.Is(err, fault.Exists) {
		return nil // it was changed meanwhile, which does as well
	}
	return err
}

// Put gives a key its value. With onlyIfMissing it leaves a value alone that another request has put, and returns false.
func (s *Service) Put(ctx context.Context, dictID string, e Entry, onlyIfMissing bool) (created bool, err error) {
	if err := s.claim(ctx, []Entry{e}); err != nil {
		return false, err
	}
	err = s.reading(ctx, dictID, func(st *state) error {
		if err := s.room(ctx, dictID, st, 1); err != nil {
			return err
		}
		err := s.put(ctx, dictID, e, Condition{If: onlyIfMissing})
		if !errors.Is(err, fault.Exists) {
			created = err == nil
			return err
		}
		found, err := s.entry(ctx, dictID, e.Key)
		created = err == nil && e.Request != "" && found.Request == e.Request // its answer was lost
		if errors.Is(err, fault.NotFound) {
			return nil // it was there a moment ago
		}
		return err
	})
	return created, err
}

// put puts one entry and waits for it.
func (s *Service) put(ctx context.Context, dictID string, e Entry, c Condition) error {
	errs := make(chan error, 1)
	s.d.Entries.PutEntries(dictID, []Entry{e}, c, func(all []error) { errs <- errors.Join(all...) })
	select {
	case err := <-errs:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Has tells whether a key has a value, which counts as reading it.
func (s *Service) Has(ctx context.Context, dictID string, key Key) (bool, error) {
	_, err := s.Get(ctx, dictID, key)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// Pop removes a key and returns its value, or a fault.NotFound. The same request gets the same value again, for about a quarter of an hour.
func (s *Service) Pop(ctx context.Context, dictID string, key Key, request string) (payload.Payload, error) {
	var value payload.Payload
	err := s.reading(ctx, dictID, func(st *state) error {
		lock := st.popper(key.Slot())
		lock.Lock()
		defer lock.Unlock()
		known, err := s.d.Journal.Pop(ctx, dictID, request)
		if err == nil {
			value = known.Value
			return s.d.Entries.RemoveEntry(ctx, known.Entry) // it may have been broken off
		}
		if !errors.Is(err, fault.NotFound) {
			return err
		}
		found, err := s.entry(ctx, dictID, key)
		if err != nil {
			return err
		}
		value = found.Value
		if err := s.d.Journal.PutPop(ctx, Pop{DictID: dictID, Request: request, Value: value, Entry: found.Place}); err != nil {
			return err
		}
		return s.d.Entries.RemoveEntry(ctx, found.Place)
	})
	return value, err
}

// Count counts the entries.
func (s *Service) Count(ctx context.Context, dictID string) (n uint64, err error) {
	err = s.reading(ctx, dictID, func(*state) error {
		n, err = s.d.Entries.CountEntries(ctx, dictID)
		return err
	})
	return n, err
}

// Drop implements object.Contents.
func (s *Service) Drop(ctx context.Context, dictID string) error {
	st := s.states.use(dictID)
	defer s.states.forget(dictID)
	st.entries.Lock()
	defer st.entries.Unlock()
	for _, in := range st.unfinished {
		if err := s.d.Journal.DropIntent(ctx, in.Place); err != nil {
			return err
		}
	}
	st.unfinished = nil
	return s.d.Entries.PurgeEntries(ctx, dictID)
}

// claim makes sure that the values that are blobs are there.
func (s *Service) claim(ctx context.Context, entries []Entry) error {
	for i := range entries {
		if ref := entries[i].Value.Blob; ref != nil {
			if err := s.d.Blobs.ClaimBlob(ctx, ref.Digest); err != nil {
				return err
			}
		}
	}
	return nil
}

// room makes sure that a dict does not grow without bounds. Errors: fault.Exhausted.
func (s *Service) room(ctx context.Context, dictID string, st *state, n uint64) error {
	st.count.Lock()
	defer st.count.Unlock()
	if !st.counted || st.most+n > MaxEntries {
		count, err := s.d.Entries.CountEntries(ctx, dictID)
		if err != nil {
			return err
		}
		st.most, st.counted = count, true
	}
	if st.most+n > MaxEntries {
		return fault.New(fault.Exhausted, "dict %q: has %d entries, the most is %d; remove some, or use another dict", dictID, st.most, MaxEntries)
	}
	st.most += n // some of them may replace others; it is counted again before anything is refused
	return nil
}
