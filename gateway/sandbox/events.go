package sandbox

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// backlog is how many events a reader may be behind.
const backlog = 4096

// EventType says what happened; the numbers are those of skerry.v1.SandboxEventType.
type EventType uint8

// The types.
const (
	Created     EventType = 1
	Started     EventType = 2
	Ready       EventType = 3
	PausedNow   EventType = 4
	Resumed     EventType = 5
	EndedNow    EventType = 6
	Updated     EventType = 7
	Snapshotted EventType = 8
	Recovered   EventType = 9
)

// Event is something that happened to a sandbox.
type Event struct {
	Type     EventType
	Sandbox  Sandbox // as it was then
	At       time.Time
	ObjectID string // of a snapshot: the image or the snapshot
}

// Filter says which sandboxes' events to send; empty fields are all.
type Filter struct {
	ID, AppID, Owner, Environment string
	Tags                          map[string]string
}

func (f *Filter) match(sb *Sandbox) bool {
	return (f.ID == "" || f.ID == sb.ID) && (f.AppID == "" || f.AppID == sb.AppID) && (f.Owner == "" || f.Owner == sb.Definition.Owner) &&
		(f.Environment == "" || f.Environment == sb.Environment) && sb.hasTags(f.Tags)
}

// subscription is a reader of events. Its channel is closed at its end, after which err says why.
type subscription struct {
	filter Filter
	events chan Event
	err    error
	over   bool
}

// end ends it; the service's mutex is held.
func (r *subscription) end(err error) {
	if !r.over {
		r.over, r.err = true, err
		close(r.events)
	}
}

// tell hands an event to who reads them; the mutex is held.
func (s *Service) tell(e *entry, t EventType) {
	if len(s.readers) > 0 {
		s.send(Event{Type: t, Sandbox: e.clone(), At: time.Now().UTC()})
	}
}

func (s *Service) send(event Event) {
	for r := range s.readers {
		if r.over || !r.filter.match(&event.Sandbox) {
			continue
		}
		select {
		case r.events <- event:
		default:
			r.end(fault.New(fault.Exhausted, "events: %d behind; read faster, or ask for fewer", backlog))
			continue
		}
		if event.Type == EndedNow && r.filter.ID != "" {
			r.end(nil)
		}
	}
}

// Snapshotted says that a snapshot of a sandbox was made.
func (s *Service) Snapshotted(id, objectID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[id]; e != nil {
		s.send(Event{Type: Snapshotted, Sandbox: e.clone(), At: time.Now().UTC(), ObjectID: objectID})
	}
}

// Events calls watching, and then hands what happens to emit until ctx ends or, for one sandbox, that has ended. What such a sandbox has been
// through so far comes first. Errors: fault.NotFound, fault.Exhausted, and those of emit and watching.
func (s *Service) Events(ctx context.Context, f Filter, watching func() error, emit func(Event) error) error {
	r := &subscription{filter: f, events: make(chan Event, backlog)}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fault.New(fault.Unavailable, "the gateway is stopping; try again")
	}
	s.readers[r] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.readers, r)
	}()
	past, err := s.past(ctx, f.ID)
	if err != nil {
		return err
	}
	if err := watching(); err != nil {
		return err
	}
	seen := map[EventType]bool{}
	for _, event := range past {
		seen[event.Type] = true
		if err := emit(event); err != nil || event.Type == EndedNow {
			return err
		}
	}
	for {
		select {
		case event, ok := <-r.events:
			if !ok {
				return r.err
			}
			if first := event.Type <= Ready && seen[event.Type]; first {
				continue // it happened while the past was looked at
			}
			if err := emit(event); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// past is what a sandbox has been through, as far as its present tells.
func (s *Service) past(ctx context.Context, id string) ([]Event, error) {
	if id == "" {
		return nil, nil
	}
	sb, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	events := []Event{{Type: Created, Sandbox: sb, At: sb.CreatedAt}}
	if sb.State == Running || sb.State == Paused {
		events = append(events, Event{Type: Started, Sandbox: sb, At: sb.CreatedAt})
	}
	if sb.Ready {
		events = append(events, Event{Type: Ready, Sandbox: sb, At: sb.CreatedAt})
	}
	if sb.State == Paused {
		events = append(events, Event{Type: PausedNow, Sandbox: sb, At: sb.CreatedAt})
	}
	if sb.State == Ended && sb.End != nil {
		events = append(events, Event{Type: EndedNow, Sandbox: sb, At: sb.End.At})
	}
	return events, nil
}
