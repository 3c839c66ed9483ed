package dict

import (
	"context"
	"errors"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// finishTimeout bounds the work on an intent, which goes on when its client is gone.
const finishTimeout = time.Minute

// maxPasses bounds how often ReadAll looks for what was changed while it read.
const maxPasses = 8

// reading runs f with a dict in which nobody changes many entries meanwhile.
func (s *Service) reading(ctx context.Context, dictID string, f func(*state) error) error {
	st := s.states.use(dictID)
	defer s.states.leave(dictID, st)
	for {
		st.entries.RLock()
		if len(st.unfinished) == 0 {
			defer st.entries.RUnlock()
			return f(st)
		}
		st.entries.RUnlock()
		if err := s.writing(ctx, st, func() error { return nil }); err != nil {
			return err
		}
	}
}

// writing runs f alone with a dict, after what is to be finished.
func (s *Service) writing(ctx context.Context, st *state, f func() error) error {
	st.entries.Lock()
	defer st.entries.Unlock()
	for len(st.unfinished) > 0 {
		if err := s.finish(ctx, st.unfinished[0]); err != nil {
			return err
		}
		st.unfinished = st.unfinished[1:]
	}
	return f()
}

// Update gives many keys their values, all or none. Errors: fault.NotFound (a blob), fault.Exhausted.
func (s *Service) Update(ctx context.Context, dictID string, entries []Entry) error {
	if err := s.claim(ctx, entries); err != nil {
		return err
	}
	if len(entries) == 1 {
		_, err := s.Put(ctx, dictID, entries[0], false)
		return err
	}
	in := Intent{DictID: dictID, Entries: entries}
	if body := AppendEntries(nil, entries); len(body) > payload.MaxInline {
		ref, err := s.d.Blobs.PutBlob(ctx, body)
		if err != nil {
			return err
		}
		in.Body = &ref
	}
	return s.change(ctx, in)
}

// Clear removes all entries, all or none.
func (s *Service) Clear(ctx context.Context, dictID string) error {
	return s.change(ctx, Intent{DictID: dictID, Clear: true})
}

// change writes an intent down and does it. From then on it is done, whatever happens.
func (s *Service) change(ctx context.Context, in Intent) error {
	st := s.states.use(in.DictID)
	defer s.states.leave(in.DictID, st)
	return s.writing(ctx, st, func() error {
		if !in.Clear {
			if err := s.room(ctx, in.DictID, st, uint64(len(in.Entries))); err != nil {
				return err
			}
		}
		place, err := s.d.Journal.PutIntent(context.WithoutCancel(ctx), in)
		if err != nil {
			// It may be written down nevertheless, and must not be done after what comes next.
			st.unfinished = append(st.unfinished, Intent{DictID: in.DictID})
			return err
		}
		in.Place = place
		if err := s.finish(ctx, in); err != nil {
			st.unfinished = append(st.unfinished, in)
			return err
		}
		return nil
	})
}

// finish does what an intent says, and forgets it. One without a place stands for what may be written down.
func (s *Service) finish(ctx context.Context, in Intent) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if in.Place == 0 {
		return s.finishAll(ctx, in.DictID)
	}
	if in.Clear {
		if err := s.d.Entries.PurgeEntries(ctx, in.DictID); err != nil {
			return err
		}
		return s.d.Journal.DropIntent(ctx, in.Place)
	}
	if in.Entries == nil && in.Body != nil {
		body, err := s.d.Blobs.ReadBlob(ctx, *in.Body)
		if err != nil {
			return err
		}
		if in.Entries, err = ParseEntries(body); err != nil {
			return err
		}
	}
	errs := make(chan error, 1)
	s.d.Entries.PutEntries(in.DictID, in.Entries, Condition{}, func(all []error) { errs <- errors.Join(all...) })
	select {
	case err := <-errs:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "dict %q: entries were not stored within %s", in.DictID, finishTimeout)
	}
	return s.d.Journal.DropIntent(ctx, in.Place)
}

// finishAll finishes all that is written down, of one dict or (empty) of all.
func (s *Service) finishAll(ctx context.Context, dictID string) error {
	var intents []Intent
	err := s.d.Journal.Intents(ctx, dictID, func(in Intent) error {
		intents = append(intents, in)
		return nil
	})
	if err != nil {
		return err
	}
	for _, in := range intents {
		if err := s.finish(ctx, in); err != nil {
			return err
		}
	}
	return nil
}

// Read hands over the entries after a cursor (0: all) a page at a time, until f returns an error or there are no more. Each entry that is
// there all the time comes; one that is changed meanwhile comes with its new value, maybe after its old one. A page has at least one entry, and
// the cursor after it.
func (s *Service) Read(ctx context.Context, dictID string, after uint64, f func(page []Entry, cursor uint64) error) error {
	for passes := 0; passes < maxPasses; passes++ {
		last, err := s.d.Entries.LastPlace(ctx)
		if err != nil || after >= last {
			return err
		}
		for after < last {
			var page []Entry
			err := s.reading(ctx, dictID, func(*state) error {
				return s.d.Entries.ReadEntries(ctx, dictID, after, func(e Stored) bool {
					page, after = append(page, e.Entry), e.Place
					return true
				})
			})
			if err != nil {
				return err
			}
			if len(page) == 0 {
				return nil
			}
			if err := f(page, after); err != nil {
				return err
			}
		}
	}
	return nil
}
