package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/gateway/fleet"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/placement"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// attempts is how many workers are asked to take a sandbox.
const attempts = 3

// Request asks for a sandbox under an id that the client has chosen: asked again, it is the same one.
type Request struct {
	ID, AppID  string
	Definition Definition
	Snapshot   *Snapshot // to make it from; nil: from its image
	SnapshotID string    // of Snapshot
	WorkerID   string    // the one that must take it; empty: any
}

// Create makes a sandbox and returns once a worker has taken it. Errors: fault.Invalid, fault.NotFound, fault.Exists (the name),
// fault.Precondition (the app has stopped), fault.Exhausted (no room), fault.Unavailable.
func (s *Service) Create(ctx context.Context, r Request) (Sandbox, error) {
	if err := ident.Check(ident.Sandbox, r.ID); err != nil {
		return Sandbox{}, err
	}
	def, err := r.Definition.Checked()
	if err != nil {
		return Sandbox{}, err
	}
	r.Definition = def
	if e, err := s.again(ctx, r); e != nil || err != nil {
		if err != nil {
			return Sandbox{}, err
		}
		return *e, nil
	}
	spec, err := s.spec(ctx, r)
	if err != nil {
		return Sandbox{}, err
	}
	e, mine, err := s.enter(spec.Sandbox)
	if err != nil {
		return Sandbox{}, err
	}
	if !mine {
		return s.taking(ctx, r.ID)
	}
	if err := s.start(ctx, e, spec, r.WorkerID); err != nil {
		s.abandon(ctx, e, err)
		return Sandbox{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.clone(), nil
}

// again returns the sandbox that an earlier request of the same id has made, if there is one.
func (s *Service) again(ctx context.Context, r Request) (*Sandbox, error) {
	s.mu.Lock()
	e := s.entries[r.ID]
	if e != nil && e.AppID != r.AppID {
		s.mu.Unlock()
		return nil, fault.New(fault.Exists, "sandbox %q: there is one of another app", r.ID)
	}
	s.mu.Unlock()
	if e == nil {
		sb, err := s.d.Store.Sandbox(ctx, r.ID) // it may have ended by now
		return sb, ignoreNotFound(err)
	}
	sb, err := s.taking(ctx, r.ID)
	return &sb, err
}

// taking returns a sandbox once a worker has taken it, or the reason why none has.
func (s *Service) taking(ctx context.Context, id string) (Sandbox, error) {
	for {
		s.mu.Lock()
		e := s.entries[id]
		if e == nil {
			s.mu.Unlock()
			return s.Get(ctx, id)
		}
		now, placed, failed, changed := e.clone(), e.placed, e.failed, e.watch()
		s.mu.Unlock()
		if placed || failed != nil {
			return now, failed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return now, context.Cause(ctx)
		}
	}
}

// spec gathers what a worker needs.
func (s *Service) spec(ctx context.Context, r Request) (Spec, error) {
	a, err := s.d.Apps.Find(ctx, "", r.AppID)
	if err != nil {
		return Spec{}, err
	}
	if !a.Living() {
		return Spec{}, fault.New(fault.Precondition, "app %q has stopped; sandboxes need one that lives", r.AppID)
	}
	d := r.Definition
	image, err := s.d.Images.SandboxImage(ctx, d.ImageID)
	if err != nil {
		return Spec{}, err
	}
	for _, m := range d.Mounts {
		if err := s.d.Trees.Check(ctx, m.TreeDigest); err != nil {
			return Spec{}, err
		}
	}
	for _, m := range d.Volumes {
		if err := s.d.Volumes.CheckVolume(ctx, a.Environment, m.VolumeID); err != nil {
			return Spec{}, err
		}
	}
	if len(d.Argv) == 0 && len(image.Entrypoint)+len(image.Cmd) > 0 {
		d.Argv = append(slices.Clone(image.Entrypoint), image.Cmd...)
	}
	d.Egress = slices.Clone(d.Egress)
	for i := range d.Egress {
		if d.Egress[i].Placeholder == "" { // what is made of a snapshot has one in its memory
			d.Egress[i].Placeholder = "skerry-placeholder-" + ident.Random(24)
		}
	}
	now := time.Now().UTC()
	spec := Spec{
		Image: image, Snapshot: r.Snapshot,
		Sandbox: Sandbox{
			ID: r.ID, AppID: a.ID, AppName: a.Title(), Environment: a.Environment, Definition: d, State: Starting,
			CreatedAt: now, ExpiresAt: now.Add(d.Timeout), SnapshotID: r.SnapshotID,
		},
	}
	if spec.SecretEnv, err = s.d.Secrets.Variables(ctx, a.ID, d.SecretIDs); err != nil {
		return Spec{}, err
	}
	spec.Buckets, err = function.OpenBuckets(d.Buckets, func(secretID string) (map[string]string, error) {
		return s.d.Secrets.Variables(ctx, a.ID, []string{secretID})
	})
	if err != nil {
		return Spec{}, err
	}
	spec.EgressRules, err = s.EgressRules(ctx, &spec.Sandbox)
	return spec, err
}

// EgressRules opens what a sandbox's worker puts into its requests; it is not for logs. Errors: fault.NotFound, fault.Invalid.
func (s *Service) EgressRules(ctx context.Context, sb *Sandbox) (rules []EgressRule, err error) {
	for _, e := range sb.Definition.Egress {
		variables, err := s.d.Secrets.Variables(ctx, sb.AppID, []string{e.SecretID})
		if err != nil {
			return nil, err
		}
		value, ok := variables[e.Variable]
		if !ok {
			return nil, fault.New(fault.Invalid, "egress secret: secret %q has no variable %q", e.SecretID, e.Variable)
		}
		if e.Format != "" {
			value = strings.Replace(e.Format, "{}", value, 1)
		}
		if strings.ContainsAny(value, "\r\n\x00") {
			return nil, fault.New(fault.Invalid, "egress secret %q: no header can carry its value, which has more than one line", e.Variable)
		}
		name := e.PlaceholderVariable
		if name == "" {
			name = e.Variable
		}
		rules = append(rules, EgressRule{
			Hosts: e.Hosts, Header: e.Header, Value: value, Placeholder: e.Placeholder, PlaceholderVariable: name,
		})
	}
	return rules, nil
}

// enter adds a sandbox that no worker has taken yet; mine is false where another request has been quicker.
func (s *Service) enter(sb Sandbox) (e *entry, mine bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, fault.New(fault.Unavailable, "the gateway is stopping; try again")
	}
	if e := s.entries[sb.ID]; e != nil {
		return e, false, nil
	}
	e = &entry{Sandbox: sb}
	s.entries[sb.ID] = e
	return e, true, nil
}

// start claims the sandbox's name and has a worker take it.
func (s *Service) start(ctx context.Context, e *entry, spec Spec, workerID string) error {
	if name := spec.Sandbox.Definition.Name; name != "" {
		if err := s.claim(ctx, &spec.Sandbox, name); err != nil {
			return err
		}
	}
	s.d.Output.Opened(spec.Sandbox.AppID, spec.Sandbox.ID, spec.Sandbox.Definition.Name)
	var err error
	var tried []string
	for range attempts {
		var l *link
		var res *fleet.Reservation
		if l, res, err = s.reserve(&spec.Sandbox, workerID, tried); err != nil {
			return err
		}
		spec.Sandbox.WorkerID = l.id
		if spec.Record, err = record(&spec.Sandbox); err != nil {
			res.Release()
			return err
		}
		s.mu.Lock()
		e.WorkerID, e.link, e.reservation = l.id, l.number, res
		s.mu.Unlock()
		if err = l.worker.Start(ctx, spec); err == nil {
			s.taken(e)
			return nil
		}
		s.mu.Lock()
		e.release()
		s.mu.Unlock()
		if !errors.Is(err, fault.Unavailable) && !errors.Is(err, fault.Exhausted) || ctx.Err() != nil {
			return err
		}
		tried = append(tried, l.id)
	}
	return err
}

// claim claims a name. The store may still have it for a sandbox that has just ended.
func (s *Service) claim(ctx context.Context, sb *Sandbox, name string) error {
	err := s.d.Store.ClaimSandboxName(ctx, sb.AppID, name, sb.ID)
	if errors.Is(err, fault.Exists) {
		err = fault.New(fault.Exists, "sandbox %q of app %q: one of that name runs; terminate it, or take another name", name, sb.AppName)
	}
	return err
}

// reserve finds a linked worker with room, other than those that were tried.
func (s *Service) reserve(sb *Sandbox, workerID string, tried []string) (*link, *fleet.Reservation, error) {
	demand := placement.Demand{Needs: sb.needs(), Where: placement.Where{
		Regions: sb.Definition.Placement.Regions, Clouds: sb.Definition.Placement.Clouds, NonPreemptible: sb.Definition.Placement.NonPreemptible,
	}}
	res, err := s.d.Fleet.ReserveWhere(demand, func(id string) bool {
		return (workerID == "" || id == workerID) && !slices.Contains(tried, id)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if !s.settled && errors.Is(err, fault.Exhausted) {
			return nil, nil, fault.New(fault.Unavailable, "sandbox %q: no worker has linked yet, for the gateway has just started; try again", sb.ID)
		}
		return nil, nil, fmt.Errorf("sandbox %q: %w", sb.ID, err)
	}
	l := s.links[res.WorkerID]
	if l == nil {
		res.Release()
		return nil, nil, fault.New(fault.Unavailable, "sandbox %q: worker %q is just leaving; try again", sb.ID, res.WorkerID)
	}
	return l, res, nil
}

// taken says that a worker has the sandbox. Its worker may have told more of it by now.
func (s *Service) taken(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.placed = true
	s.tell(e, Created)
	s.changed(e)
}

// abandon forgets a sandbox that no worker has taken.
func (s *Service) abandon(ctx context.Context, e *entry, cause error) {
	s.mu.Lock()
	e.failed = cause
	e.release()
	if s.entries[e.ID] == e {
		delete(s.entries, e.ID)
	}
	e.touch()
	s.mu.Unlock()
	s.d.Output.Closed(e.ID)
	if e.Definition.Name != "" && !errors.Is(cause, fault.Exists) {
		if err := s.d.Store.ReleaseSandboxNames(context.WithoutCancel(ctx), e.ID); err != nil {
			s.d.Log.Warn("name of a sandbox that was not made is still taken", "sandbox", e.ID, "error", err)
		}
	}
}

// record encodes what a worker keeps for the next gateway.
func record(sb *Sandbox) ([]byte, error) {
	data, err := json.Marshal(sb)
	if err != nil {
		return nil, fmt.Errorf("sandbox %q: record: %w", sb.ID, err)
	}
	return data, nil
}

// recorded decodes what record has made.
func recorded(id string, data []byte) (Sandbox, error) {
	var sb Sandbox
	if err := json.Unmarshal(data, &sb); err != nil {
		return sb, fault.New(fault.Invalid, "sandbox %q: record: %w", id, err)
	}
	if sb.ID != id || ident.Check(ident.App, sb.AppID) != nil {
		return sb, fault.New(fault.Invalid, "sandbox %q: the worker's record is of sandbox %.80q", id, sb.ID)
	}
	if sb.Definition.Tags != nil {
		sb.Definition.Tags = maps.Clone(sb.Definition.Tags)
	}
	return sb, nil
}
