package sandbox

import (
	"context"
	"errors"
	"maps"
	"sort"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// PageSize is how many sandboxes one list has at most.
const PageSize = 100

// Terminate ends a sandbox, and with wait returns when it has ended. One that has ended is no error. Errors: fault.NotFound,
// fault.Unavailable.
func (s *Service) Terminate(ctx context.Context, id string, wait bool) (Sandbox, error) {
	if err := ident.Check(ident.Sandbox, id); err != nil {
		return Sandbox{}, err
	}
	w, sb, err := s.worker(ctx, id)
	if errors.Is(err, fault.Precondition) {
		return sb, nil
	}
	if err != nil {
		return sb, err
	}
	if err := w.Stop(ctx, id, Terminated); ignoreNotFound(err) != nil {
		return sb, err
	}
	for wait && sb.State != Ended {
		if sb, err = s.Wait(ctx, id, MaxWait); err != nil {
			return sb, err
		}
	}
	return sb, nil
}

// StopApp ends all sandboxes of an app. The channel is closed when all have ended.
func (s *Service) StopApp(ctx context.Context, appID string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := make(chan struct{})
	s.idle[appID] = append(s.idle[appID], done)
	for _, e := range s.entries {
		if e.AppID != appID || e.State == Ended {
			continue
		}
		id := e.ID
		if l := s.links[e.WorkerID]; l != nil && e.present() {
			s.journal.do("end a sandbox of a stopped app", func(context.Context) error {
				return ignoreNotFound(l.worker.Stop(context.WithoutCancel(ctx), id, Terminated))
			})
			continue
		}
		// Its worker is told when it is back: the entry has ended then.
		s.end(e, End{Reason: Terminated, Message: "its app was stopped while its worker was away", At: time.Now().UTC()})
	}
	s.appIdle(appID)
	return done
}

// Count counts an app's sandboxes that have not ended.
func (s *Service) Count(appID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count(appID)
}

func (s *Service) count(appID string) int {
	n := 0
	for _, e := range s.entries {
		if e.AppID == appID && e.State != Ended {
			n++
		}
	}
	return n
}

// appIdle tells who waits for an app's sandboxes that none is left; the mutex is held.
func (s *Service) appIdle(appID string) {
	if len(s.idle[appID]) == 0 || s.count(appID) > 0 {
		return
	}
	for _, done := range s.idle[appID] {
		close(done)
	}
	delete(s.idle, appID)
}

// SetTags replaces tags. Errors: fault.Invalid, fault.NotFound, fault.Precondition.
func (s *Service) SetTags(ctx context.Context, id string, tags map[string]string) error {
	if err := CheckTags(tags); err != nil {
		return err
	}
	return s.edit(ctx, id, Update{}, func(sb *Sandbox) { sb.Definition.Tags = maps.Clone(tags) })
}

// SetName gives a sandbox a name. Errors: fault.Invalid, fault.NotFound, fault.Exists, fault.Precondition.
func (s *Service) SetName(ctx context.Context, id, name string) error {
	if err := ident.CheckName("sandbox", name); err != nil {
		return err
	}
	_, sb, err := s.worker(ctx, id)
	if err != nil {
		return err
	}
	if sb.Definition.Name == name {
		return nil
	}
	if sb.Definition.Name != "" {
		return fault.New(fault.Precondition, "sandbox %q: is named %q already", id, sb.Definition.Name)
	}
	if err := s.claim(ctx, &sb, name); err != nil {
		return err
	}
	return s.edit(ctx, id, Update{}, func(sb *Sandbox) { sb.Definition.Name = name })
}

// SetTimeout has a sandbox end after another time, from now on. Errors: fault.Invalid, fault.NotFound, fault.Precondition.
func (s *Service) SetTimeout(ctx context.Context, id string, timeout time.Duration) (time.Time, error) {
	if timeout < MinTimeout || timeout > MaxTimeout {
		return time.Time{}, fault.New(fault.Invalid, "sandbox %q: timeout %s: want %s to %s", id, timeout, MinTimeout, MaxTimeout)
	}
	at := time.Now().UTC().Add(timeout)
	return at, s.edit(ctx, id, Update{ExpiresAt: at}, func(sb *Sandbox) { sb.ExpiresAt = at })
}

// SetNetwork replaces the network policy; without inbound CIDRs, who may connect stays as it is. Errors: fault.Invalid, fault.NotFound, fault.Precondition.
func (s *Service) SetNetwork(ctx context.Context, id string, n Network) error {
	if err := n.Check(); err != nil {
		return err
	}
	_, sb, err := s.worker(ctx, id)
	if err != nil {
		return err
	}
	if n.InboundCIDRs == nil {
		n.InboundCIDRs = sb.Definition.Network.InboundCIDRs // who says what it may reach does not open it to everybody, nor does blocking it for a time
	}
	err = s.edit(ctx, id, Update{Network: &n}, func(sb *Sandbox) { sb.Definition.Network = n })
	if sb.Definition.Network.Block && !n.Block && errors.Is(err, fault.Precondition) {
		return fault.New(fault.Precondition, "sandbox %q: was created without a network, or resumed while it was blocked; create another one", id)
	}
	return err
}

// edit changes a sandbox on its worker, which keeps it for the next gateway as well, and then here.
func (s *Service) edit(ctx context.Context, id string, u Update, change func(*Sandbox)) error {
	if err := ident.Check(ident.Sandbox, id); err != nil {
		return err
	}
	w, sb, err := s.worker(ctx, id)
	if err != nil {
		return err
	}
	change(&sb)
	if u.Record, err = record(&sb); err != nil {
		return err
	}
	if err := w.Update(ctx, id, u); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[id]; e != nil && e.State != Ended {
		change(&e.Sandbox)
		s.tell(e, Updated)
		s.changed(e)
	}
	return nil
}

// Seal puts the values of secrets into a sandbox and returns the id under which processes name them: the same for the same secrets. Errors:
// fault.Invalid, fault.NotFound, fault.Precondition.
func (s *Service) Seal(ctx context.Context, id string, secretIDs []string) (string, error) {
	if err := ident.Check(ident.Sandbox, id); err != nil {
		return "", err
	}
	w, sb, err := s.worker(ctx, id)
	if err != nil {
		return "", err
	}
	variables, err := s.d.Secrets.Variables(ctx, sb.AppID, secretIDs)
	if err != nil {
		return "", err
	}
	environment := ident.Derive("ev", []byte(strings.Join(secretIDs, "\x00")))
	return environment, w.Seal(ctx, id, environment, variables)
}

// Usage says what a sandbox uses. Errors: fault.NotFound, fault.Precondition, fault.Unavailable.
func (s *Service) Usage(ctx context.Context, id string) (Usage, error) {
	if err := ident.Check(ident.Sandbox, id); err != nil {
		return Usage{}, err
	}
	w, _, err := s.worker(ctx, id)
	if err != nil {
		return Usage{}, err
	}
	return w.Usage(ctx, id)
}

// Query says which sandboxes to list; empty fields are all.
type Query struct {
	Filter
	CreatedBefore time.Time
	WithEnded     bool
}

// List returns sandboxes, newest first, at most PageSize, and whether there are more.
func (s *Service) List(ctx context.Context, q Query) (list []Sandbox, more bool, err error) {
	running := map[string]bool{}
	s.mu.Lock()
	for _, e := range s.entries {
		running[e.ID] = true
		if e.placed && (e.State != Ended || q.WithEnded) && q.match(&e.Sandbox) && (q.CreatedBefore.IsZero() || e.CreatedAt.Before(q.CreatedBefore)) {
			list = append(list, e.clone())
		}
	}
	s.mu.Unlock()
	if q.WithEnded {
		if list, err = s.withEnded(ctx, q, list, running); err != nil {
			return nil, false, err
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].CreatedAt.After(list[j].CreatedAt) })
	if len(list) > PageSize {
		return list[:PageSize], true, nil
	}
	return list, false, nil
}

// withEnded adds those that have ended, as many as a page may need.
func (s *Service) withEnded(ctx context.Context, q Query, list []Sandbox, known map[string]bool) ([]Sandbox, error) {
	before := q.CreatedBefore
	for found := 0; found <= PageSize; {
		page, err := s.d.Store.EndedSandboxes(ctx, before, PageSize+1)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if !known[page[i].ID] && q.match(&page[i]) {
				list = append(list, page[i])
				found++
			}
			before = page[i].CreatedAt
		}
		if len(page) <= PageSize {
			break
		}
	}
	return list, nil
}

// Prune says which sandboxes to end.
type Prune struct {
	Filter
	OlderThan, IdleFor time.Duration
	All                bool // without any other condition
	DryRun             bool
}

// Prune ends the sandboxes that match, and returns them as they were. Errors: fault.Invalid where nothing says which.
func (s *Service) Prune(ctx context.Context, p Prune) ([]Sandbox, error) {
	if p.Owner == "" && len(p.Tags) == 0 && p.AppID == "" && !p.All {
		return nil, fault.New(fault.Invalid, "prune: say which by owner, tags or app, or that all are meant")
	}
	now := time.Now()
	var list []Sandbox
	s.mu.Lock()
	for _, e := range s.entries {
		idle := !e.IdleSince.IsZero() && now.Sub(e.IdleSince) >= p.IdleFor
		if e.placed && e.State != Ended && p.match(&e.Sandbox) && now.Sub(e.CreatedAt) >= p.OlderThan && (p.IdleFor == 0 || idle) {
			list = append(list, e.clone())
		}
	}
	s.mu.Unlock()
	sort.Slice(list, func(i, j int) bool { return list[i].CreatedAt.After(list[j].CreatedAt) })
	if p.DryRun {
		return list, nil
	}
	var errs []error
	for i := range list {
		if _, err := s.Terminate(ctx, list[i].ID, false); ignoreNotFound(err) != nil {
			errs = append(errs, err)
		}
	}
	return list, errors.Join(errs...)
}
