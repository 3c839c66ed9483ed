package sandbox

import (
	"context"
	"errors"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// link is a worker as long as it is linked.
type link struct {
	id     string
	number uint64 // counts links; those of a worker's entries that have another have not been heard of over this one
	worker Worker
}

// Join follows what a linked worker says of its sandboxes, until ctx ends; the worker has joined the fleet. It returns when that is over, and
// what the worker has is then absent.
func (s *Service) Join(ctx context.Context, workerID string, w Worker) {
	s.mu.Lock()
	s.lastLink++
	l := &link{id: workerID, number: s.lastLink, worker: w}
	s.links[workerID] = l
	s.mu.Unlock()
	err := w.Watch(ctx,
		func(st Status) { s.apply(ctx, l, st) },
		func() { s.complete(l) },
	)
	if err != nil && ctx.Err() == nil {
		s.d.Log.Warn("sandboxes of a worker are not followed any more", "worker", workerID, "error", err)
	}
	s.leave(l)
}

func (s *Service) leave(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links[l.id] == l {
		delete(s.links, l.id)
	}
	for _, e := range s.entries {
		if e.link == l.number {
			e.release()
			s.absent(e)
			e.touch()
		}
	}
}

// absent says that a sandbox's worker is not linked. A sandbox whose timeout passes meanwhile is given up.
func (s *Service) absent(e *entry) {
	e.link = 0
	e.stopAbsence()
	if s.closed || e.State == Ended || e.ExpiresAt.IsZero() {
		return
	}
	id := e.ID
	e.absence = time.AfterFunc(time.Until(e.ExpiresAt)+AbsenceGrace, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if e := s.entries[id]; e != nil && !e.present() {
			s.end(e, End{Reason: TimedOut, Message: "its worker was away", At: time.Now().UTC()})
		}
	})
}

// apply takes what a worker says of a sandbox.
func (s *Service) apply(ctx context.Context, l *link, st Status) {
	if s.over(ctx, l, st) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[st.ID]
	if e == nil {
		if e = s.adopt(ctx, l, st); e == nil {
			return
		}
	}
	if e.WorkerID != l.id {
		s.d.Log.Warn("a worker speaks of a sandbox that another one has", "sandbox", st.ID, "worker", l.id, "other", e.WorkerID)
		return
	}
	if e.State == Ended {
		s.journal.mark(e) // it is to be forgotten by its worker as well
		e.link = l.number
		return
	}
	recovered := !e.present()
	e.link = l.number
	e.stopAbsence()
	e.IdleSince, e.ExpiresAt = st.IdleSince, st.ExpiresAt
	s.hold(e, st)
	if recovered && st.Adopted && (st.State == Starting || st.State == Running) && len(e.Definition.Egress) > 0 {
		s.renew(l, e.clone())
	}
	if st.Ready && !e.Ready {
		e.Ready = true
		s.tell(e, Ready)
	}
	s.move(e, st, recovered)
	s.changed(e)
}

// over says whether a sandbox that its worker has is over for us: it was given up while the worker was away, or the worker has yet to hear that its
// end is recorded. Then the worker ends it, and forgets it.
func (s *Service) over(ctx context.Context, l *link, st Status) bool {
	s.mu.Lock()
	e := s.entries[st.ID]
	ended := e != nil && e.State == Ended && st.State != Ended
	s.mu.Unlock()
	reason := Terminated
	if e == nil {
		sb, err := s.d.Store.Sandbox(ctx, st.ID)
		if ignoreNotFound(err) != nil {
			s.d.Log.Warn("not known whether a sandbox has ended; it goes on", "sandbox", st.ID, "error", err)
		}
		if ended = err == nil && sb.State == Ended; ended && sb.End != nil && sb.End.Reason == TimedOut {
			reason = TimedOut
		}
	}
	if !ended {
		return false
	}
	s.journal.do("have a worker end a sandbox that is over", func(ctx context.Context) error {
		if st.State == Ended {
			return l.worker.Forget(ctx, st.ID)
		}
		return ignoreNotFound(l.worker.Stop(ctx, st.ID, reason)) // it tells when it has ended, and forgets it then
	})
	return true
}

// renew gives a worker that was started again what it puts into a sandbox's requests: no value is on its disk. Until then it refuses them.
func (s *Service) renew(l *link, sb Sandbox) {
	s.journal.do("give a worker the secrets of a sandbox's requests", func(ctx context.Context) error {
		rules, err := s.EgressRules(ctx, &sb)
		if err != nil {
			return err
		}
		return ignoreNotFound(l.worker.Update(ctx, sb.ID, Update{EgressRules: &rules}))
	})
}

// move takes a sandbox to the state that its worker says.
func (s *Service) move(e *entry, st Status, recovered bool) {
	before := e.State
	switch st.State {
	case Ended:
		end := LostNow("")
		if st.End != nil {
			end = *st.End
		}
		e.Sidecars = st.Sidecars
		s.end(e, end)
		return
	case before:
		if recovered && st.State == Running {
			s.tell(e, Recovered)
		}
		return
	}
	e.State = st.State
	switch {
	case st.State == Paused:
		s.tell(e, PausedNow)
	case st.State == Running && before == Paused:
		s.tell(e, Resumed)
	case st.State == Running:
		s.tell(e, Started)
	}
}

// hold has the sandbox hold its share of the worker while it is not paused.
func (s *Service) hold(e *entry, st Status) {
	switch {
	case st.State == Paused || st.State == Ended:
		e.release()
	case e.reservation == nil:
		e.reservation = s.d.Fleet.Hold(e.WorkerID, e.needs())
	}
}

// adopt adds a sandbox that a worker has and nobody else knows: an earlier gateway made it, and had not written it down.
func (s *Service) adopt(ctx context.Context, l *link, st Status) *entry {
	sb, err := recorded(st.ID, st.Record)
	if err != nil {
		s.d.Log.Warn("a worker has a sandbox that is not ours; it is ended", "worker", l.id, "error", err)
		s.journal.do("end a sandbox that is not ours", func(context.Context) error {
			return ignoreNotFound(errors.Join(l.worker.Stop(ctx, st.ID, Terminated), l.worker.Forget(ctx, st.ID)))
		})
		return nil
	}
	sb.WorkerID = l.id
	if sb.End != nil || sb.State == Ended {
		sb.End, sb.State = nil, Running
	}
	e := &entry{Sandbox: sb, placed: true}
	s.entries[sb.ID] = e
	s.d.Output.Opened(sb.AppID, sb.ID, sb.Definition.Name)
	return e
}

// complete says that a worker has told of all that it has: what it has not told of is lost.
func (s *Service) complete(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if e.WorkerID == l.id && e.placed && e.link != l.number && e.State != Ended {
			s.end(e, LostNow("its worker came back without it"))
		}
	}
	s.settled = true
}

// end notes how a sandbox ended. The entry stays until the store has it.
func (s *Service) end(e *entry, end End) {
	if e.State == Ended {
		return
	}
	if end.Reason != Exited && end.ReturnCode == 0 {
		end.ReturnCode = end.Reason.code()
	}
	e.State, e.End, e.IdleSince = Ended, &end, time.Time{}
	e.release()
	e.stopAbsence()
	s.tell(e, EndedNow)
	s.changed(e)
	s.d.Output.Closed(e.ID)
	s.appIdle(e.AppID)
}

// changed wakes who waits, and has the store and the follower follow.
func (s *Service) changed(e *entry) {
	e.touch()
	if e.placed {
		s.d.Follow.Follow(e.Sandbox)
	}
	s.journal.mark(e)
}

// worker returns the linked worker of a sandbox that has not ended. Errors: fault.NotFound, fault.Precondition, fault.Unavailable.
func (s *Service) worker(ctx context.Context, id string) (Worker, Sandbox, error) {
	s.mu.Lock()
	e := s.entries[id]
	if e == nil || e.State == Ended {
		s.mu.Unlock()
		sb, err := s.Get(ctx, id)
		if err == nil {
			err = endedError(&sb)
		}
		return nil, sb, err
	}
	defer s.mu.Unlock()
	l := s.links[e.WorkerID]
	if l == nil || !e.present() {
		return nil, e.clone(), fault.New(fault.Unavailable, "sandbox %q: its worker %q is not connected at the moment; try again", id, e.WorkerID)
	}
	return l.worker, e.clone(), nil
}

// Locate returns the worker that a sandbox is on, which is linked. Errors: as for all that is done with a sandbox: fault.NotFound,
// fault.Precondition (it has ended), fault.Unavailable.
func (s *Service) Locate(ctx context.Context, id string) (workerID string, sb Sandbox, err error) {
	_, sb, err = s.worker(ctx, id)
	return sb.WorkerID, sb, err
}

// Reach is Locate that waits for a worker that is away, until ctx ends.
func (s *Service) Reach(ctx context.Context, id string) (workerID string, sb Sandbox, err error) {
	for {
		s.mu.Lock()
		var changed <-chan struct{}
		if e := s.entries[id]; e != nil {
			changed = e.watch()
		}
		s.mu.Unlock()
		workerID, sb, err = s.Locate(ctx, id)
		if err == nil || changed == nil || !errors.Is(err, fault.Unavailable) {
			return workerID, sb, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", sb, context.Cause(ctx)
		}
	}
}

func ignoreNotFound(err error) error {
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
