package sandbox

import (
	"context"
	"errors"

	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/command"
	"github.com/skerry-dev/skerry/worker/container"
)

// Adopt goes on with what an earlier process of the worker has recorded: sandboxes that run are taken over, those that ended meanwhile are there
// with their end until they are forgotten. It returns the ids of the boxes that are in use; all others are to be cleared away. It is called
// once, before anything else, and before the network runs.
func (h *Host) Adopt(ctx context.Context) (boxes map[string]bool, err error) {
	records, err := h.files.load()
	if err != nil {
		return nil, err
	}
	boxes = map[string]bool{}
	var running []*Sandbox
	var wanted []box.Record
	for _, r := range records {
		s := newSandbox(h, r.Spec)
		s.state, s.end, s.ready, s.adopted, s.expires, s.record = r.State, r.End, r.Ready, true, r.Expires, r.Record
		s.remaining, s.policy = r.Remaining, r.Policy
		if s.journal, err = command.OpenJournal(h.files.journal(r.Spec.ID)); err != nil {
			return nil, err
		}
		if err := s.sidecars.Load(r.Sidecars); err != nil {
			return nil, err
		}
		h.byID[r.Spec.ID] = s
		switch {
		case r.State == command.Ended:
			s.ended(r.End) // its box is cleared away with those of nobody
		case r.State == command.Paused:
		case r.State == command.Running && r.Box != nil:
			running = append(running, s)
			wanted = append(wanted, *r.Box)
		default:
			s.ended(command.NewEnd(command.StartFailed, "the worker was restarted while it started"))
		}
	}
	for i, a := range h.cfg.Boxes.Adopt(ctx, wanted) {
		s := running[i]
		if a.Box == nil {
			h.cfg.Log.Info("sandbox not taken over", "sandbox", s.spec.ID, "error", a.Err)
			s.ended(s.endOf(a.Cause))
			continue
		}
		boxes[a.Box.ID()] = true
		if err := s.moveIn(ctx, a.Box); err != nil {
			return nil, err
		}
		s.sidecars.Adopt(a.Box)
		h.life.Go(func() { s.resumed(a.Box, func() {}) })
	}
	return boxes, h.dropSnapshots()
}

// dropSnapshots removes what was kept of sandboxes that are not paused any more.
func (h *Host) dropSnapshots() error {
	ids, err := h.cfg.Snapshots.List()
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range ids {
		if ident.Check(ident.Sandbox, id) != nil {
			continue
		}
		if s := h.byID[id]; s == nil || s.Status().State != command.Paused {
			errs = append(errs, h.cfg.Snapshots.Drop(id))
		}
	}
	return errors.Join(errs...)
}

// ended notes the end of a sandbox of which only the record is there.
func (s *Sandbox) ended(end *command.End) {
	s.host.cfg.Logs.Keep(container.Source{ID: s.spec.ID, Journal: s.journal, Last: s.journal.Last()})
	s.host.cfg.Logs.EOF(s.spec.ID)
	s.sidecars.End(end)
	s.update(func() { s.state, s.end = command.Ended, end })
}
