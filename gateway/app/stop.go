package app

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Stop is the outcome of a stop.
type Stop struct {
	AppID          string
	Containers     int  // that it had
	AlreadyStopped bool // or stopping
}

// Stop cancels the app's inputs, stops its containers, and returns when the inputs are cancelled; Done tells when the containers have
// ended. Key is the app's id or deployment name. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Stop(ctx context.Context, environment, key string, reason StopReason) (Stop, error) {
	if reason > ClientLost {
		return Stop{}, fault.New(fault.Invalid, "stop reason %d: want one of those that clients give, up to %d", reason, ClientLost)
	}
	a, err := s.Find(ctx, environment, key)
	if err != nil {
		return Stop{}, err
	}
	moved, err := s.d.Store.SetAppState(ctx, a.ID, Stopping, reason, time.Now())
	if err != nil || !moved {
		return Stop{AppID: a.ID, AlreadyStopped: true}, err
	}
	containers := s.d.Runtime.Containers(a.ID)
	begun := make(chan error, 1)
	s.group.Go("stop app "+a.ID, func(ctx context.Context) error { s.finish(ctx, a.ID, reason, begun); return nil })
	select {
	case err := <-begun:
		return Stop{AppID: a.ID, Containers: containers}, err
	case <-ctx.Done():
		return Stop{}, ctx.Err()
	}
}

// StopAll stops all apps of an environment, and returns when they have ended with their containers.
func (s *Service) StopAll(ctx context.Context, environment string) error {
	apps, err := s.d.Store.Apps(ctx, environment, time.Now().Add(time.Hour)) // those that live
	if err != nil {
		return err
	}
	ended := make([]<-chan struct{}, 0, len(apps))
	for _, a := range apps {
		done, err := s.Done(ctx, a.ID)
		if err != nil {
			return err
		}
		ended = append(ended, done)
		if _, err := s.Stop(ctx, environment, a.ID, Requested); err != nil {
			return err
		}
	}
	for _, done := range ended {
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// finish carries a stop to its end. What fails is tried again when the gateway next starts, for the state on disk is Stopping.
func (s *Service) finish(ctx context.Context, id string, reason StopReason, begun chan<- error) {
	if err := s.d.Schedules.Stopped(ctx, id); err != nil {
		s.d.Log.Warn("schedules of a stopped app go on", "app", id, "error", err)
	}
	done, err := s.d.Runtime.StopApp(ctx, id)
	if begun != nil {
		begun <- err
	}
	if err != nil {
		s.d.Log.Error("app is not stopped", "app", id, "error", err)
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
		return
	}
	if _, err := s.d.Store.SetAppState(ctx, id, Stopped, reason, time.Now()); err != nil {
		s.d.Log.Error("app is not stopped", "app", id, "error", err)
		return
	}
	if err := s.d.Secrets.DeleteApp(ctx, id); err != nil {
		s.d.Log.Error("secrets of a stopped app are not deleted", "app", id, "error", err)
	}
	s.bury(id)
	s.d.Log.Info("app stopped", "app", id, "reason", reason.String())
}

// Done returns a channel that is closed when the app has stopped with all its containers. Errors: fault.NotFound.
func (s *Service) Done(ctx context.Context, id string) (<-chan struct{}, error) {
	// The channel comes first: an app that stops after the look at the store closes it.
	l := s.life(id)
	a, err := s.d.Store.App(ctx, id)
	if err != nil || a.State == Stopped {
		s.bury(id)
	}
	if err != nil {
		return nil, err
	}
	return l.done, nil
}

func (s *Service) life(id string) *life {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lives[id]
	if l == nil {
		l = &life{done: make(chan struct{})}
		s.lives[id] = l
	}
	return l
}

// bury ends the life of an app.
func (s *Service) bury(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lives[id]; l != nil {
		if l.timer != nil {
			l.timer.Stop()
		}
		close(l.done)
		delete(s.lives, id)
	}
}

// arm starts the window that fits the app's state, or ends the one there was.
func (s *Service) arm(id string, state State) {
	l := s.life(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	switch state {
	case Ephemeral, Detached:
		l.timer = time.AfterFunc(s.d.Window, func() { s.expire(id, state) })
	case Initializing:
		l.timer = time.AfterFunc(InitializingWindow, func() { s.expire(id, state) })
	case Deployed, Stopping, Stopped:
	}
}

// expire ends an app whose client has not been heard. A detached one goes on while it has inputs, and is looked at again a window later.
func (s *Service) expire(id string, state State) {
	s.group.Go("expire app "+id, func(ctx context.Context) error {
		reason := ClientLost
		if state == Detached {
			reason = Completed
			busy, err := s.d.Runtime.Busy(ctx, id)
			if err != nil {
				s.d.Log.Warn("detached app goes on: its work could not be looked up", "app", id, "error", err)
				busy = true
			}
			if busy {
				s.rearm(id)
				return nil
			}
		}
		// It may have been deployed while its window ran out, and may be at this moment.
		moved, err := s.d.Store.ExpireApp(ctx, id, state, reason)
		if err != nil {
			s.d.Log.Error("app without a client is not stopped", "app", id, "error", err)
		}
		if moved {
			s.finish(ctx, id, reason, nil)
		}
		return nil
	})
}

// rearm begins the app's window anew.
func (s *Service) rearm(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lives[id]; l != nil && l.timer != nil {
		l.timer.Reset(s.d.Window)
	}
}
