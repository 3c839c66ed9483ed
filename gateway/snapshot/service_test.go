package snapshot_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/fleet"
	"github.com/skerry-dev/skerry/gateway/placement"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/snapshot"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// rig is the service over a real database, with a worker by hand whose sandboxes run at once.
type rig struct {
	*snapshot.Service
	sandboxes *sandbox.Service
	db        *sqlstore.DB
	app       string
	worker    string

	mu      sync.Mutex
	state   map[string]sandbox.Status
	specs   map[string]sandbox.Spec
	dropped []string
	kept    time.Duration
	refuse  string // the id of a sandbox that can't be started
	feed    chan sandbox.Status
}

func newRig(t *testing.T) *rig {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), storetest.Where(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r := &rig{
		db: db, app: ident.New(ident.App), worker: ident.New(ident.Worker), state: map[string]sandbox.Status{}, specs: map[string]sandbox.Spec{},
		feed: make(chan sandbox.Status, 100),
	}
	workers, log := fleet.New(), slog.New(slog.DiscardHandler)
	if err := workers.Join(fleet.Worker{ID: r.worker, Capacity: placement.Needs{CPUMilli: 1000, MemoryMiB: 1000}}); err != nil {
		t.Fatal(err)
	}
	r.sandboxes = sandbox.New(sandbox.Deps{Store: db, Apps: r, Images: r, Secrets: r, Trees: r, Output: r, Fleet: workers, Follow: r, Log: log})
	r.Service = snapshot.New(snapshot.Deps{Sandboxes: r.sandboxes, Workers: r, Images: r, Store: db, Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.sandboxes.Run(ctx) }) // its end is ctx's
	wg.Go(func() { r.sandboxes.Join(ctx, r.worker, link{r}) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return r
}

func (r *rig) Find(context.Context, string, string) (*app.App, error) {
	return &app.App{ID: r.app, Environment: "main", State: app.Deployed}, nil
}

func (r *rig) SandboxImage(_ context.Context, id string) (sandbox.Image, error) {
	return sandbox.Image{Workdir: id}, nil
}

func (r *rig) Variables(context.Context, string, []string) (map[string]string, error) {
	return map[string]string{"TOKEN": "value"}, nil
}

func (r *rig) Check(context.Context, string) error { return nil }
func (r *rig) Opened(string, string, string)       {}
func (r *rig) Closed(string)                       {}
func (r *rig) Follow(sandbox.Sandbox)              {}

func (r *rig) KeepFiles(_ context.Context, _ payload.Ref, _ string, ttl time.Duration) (string, error) {
	r.kept = ttl
	return ident.New(ident.Image), nil
}

func (r *rig) Snapshots(string) (snapshot.Worker, error) { return r, nil }

func (r *rig) Files(context.Context, string, string, time.Duration) (payload.Ref, error) {
	return payload.Ref{Size: 1}, nil
}

func (r *rig) Memory(_ context.Context, _, _ string, _ time.Duration, store bool) (string, uint64, error) {
	if store {
		return "sha256:manifest", 7, nil
	}
	return "", 7, nil
}

func (r *rig) Drop(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropped = append(r.dropped, id)
	return nil
}

func (r *rig) Pause(_ context.Context, id string, _ time.Duration) error {
	r.say(id, sandbox.Paused, nil)
	return nil
}

func (r *rig) Resume(_ context.Context, id string, rules []sandbox.EgressRule) error {
	if len(rules) != 1 || rules[0].Value != "value" {
		return errors.New("no secrets for requests")
	}
	r.say(id, sandbox.Running, nil)
	return nil
}

func (r *rig) Mount(context.Context, string, string, *sandbox.Image) error { return nil }
func (r *rig) Unmount(context.Context, string, string) error               { return nil }

func (r *rig) say(id string, state sandbox.State, end *sandbox.End) {
	r.mu.Lock()
	st := r.state[id]
	st.ID, st.State, st.End = id, state, end
	r.state[id] = st
	r.mu.Unlock()
	r.feed <- st
}

// link is the worker's end for sandboxes.
type link struct{ *rig }

func (l link) Start(_ context.Context, spec sandbox.Spec) error {
	id := spec.Sandbox.ID
	if id == l.refuse {
		return fault.New(fault.Invalid, "refused")
	}
	l.mu.Lock()
	l.specs[id] = spec
	l.mu.Unlock()
	l.say(id, sandbox.Running, nil)
	return nil
}

func (l link) Stop(_ context.Context, id string, reason sandbox.Reason) error {
	l.say(id, sandbox.Ended, &sandbox.End{Reason: reason, At: time.Now()})
	return nil
}

func (l link) Update(context.Context, string, sandbox.Update) error          { return nil }
func (l link) Forget(context.Context, string) error                          { return nil }
func (l link) Seal(context.Context, string, string, map[string]string) error { return nil }
func (l link) Usage(context.Context, string) (sandbox.Usage, error)          { return sandbox.Usage{}, nil }
func (l link) Watch(ctx context.Context, changed func(sandbox.Status), complete func()) error {
	l.mu.Lock()
	all := maps.Clone(l.state)
	l.mu.Unlock()
	for _, st := range all {
		changed(st)
	}
	complete()
	for {
		select {
		case st := <-l.feed:
			changed(st)
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *rig) create(t *testing.T) sandbox.Sandbox {
	t.Helper()
	for {
		sb, err := r.sandboxes.Create(t.Context(), sandbox.Request{
			ID: ident.New(ident.Sandbox), AppID: r.app, Definition: sandbox.Definition{
				ImageID: ident.New(ident.Image), Name: "box", Egress: []sandbox.EgressSecret{
					{SecretID: ident.New(ident.Secret), Variable: "TOKEN", Hosts: []string{"example.com"}},
				},
			},
		})
		if errors.Is(err, fault.Unavailable) {
			continue // the worker is about to join
		}
		if err != nil {
			t.Fatal(err)
		}
		return sb
	}
}

func TestFiles(t *testing.T) {
	r := newRig(t)
	sb := r.create(t)
	if id, err := r.Service.Files(t.Context(), sb.ID, "/data", 0, time.Hour); err != nil || ident.Check(ident.Image, id) != nil || r.kept != time.Hour {
		t.Errorf("%q, kept %s, %v", id, r.kept, err)
	}
	for name, dir := range map[string]string{"relative": "data", "with a zero": "/a\x00b"} {
		if _, err := r.Service.Files(t.Context(), sb.ID, dir, 0, 0); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Service.Files(t.Context(), sb.ID, "", time.Hour, 0); !errors.Is(err, fault.Invalid) {
		t.Errorf("an hour: %v", err)
	}
	if err := r.Service.Mount(t.Context(), sb.ID, "/proc/x", ""); !errors.Is(err, fault.Invalid) {
		t.Errorf("a mount in /proc: %v", err)
	}
}

func TestRestoreAndExpiry(t *testing.T) {
	r := newRig(t)
	sb := r.create(t)
	snap, err := r.Take(t.Context(), sb.ID, 0, time.Nanosecond)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Restore(t.Context(), snap.ID, ident.New(ident.Sandbox), "", false); !errors.Is(err, fault.NotFound) {
		t.Errorf("an expired one: %v", err)
	}
	if err := r.Prune(t.Context()); err != nil || len(r.dropped) != 1 {
		t.Errorf("dropped %v, %v", r.dropped, err)
	}
	if snap, err = r.Take(t.Context(), sb.ID, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Restore(t.Context(), snap.ID, ident.New(ident.Sandbox), "", true); !errors.Is(err, fault.Exists) {
		t.Errorf("with the name of one that runs: %v", err)
	}
	copied, err := r.Restore(t.Context(), snap.ID, ident.New(ident.Sandbox), "", false)
	if err != nil {
		t.Fatal(err)
	}
	// What the memory has as placeholder stays that.
	before, after := r.specs[sb.ID], r.specs[copied.ID]
	if after.Snapshot.ManifestDigest != "sha256:manifest" || after.EgressRules[0].Placeholder != before.EgressRules[0].Placeholder {
		t.Errorf("restored from %+v", after.Snapshot)
	}
	if err := r.Delete(t.Context(), snap.ID); err != nil {
		t.Error(err)
	}
	if _, err := r.Get(t.Context(), snap.ID); !errors.Is(err, fault.NotFound) {
		t.Errorf("a deleted one: %v", err)
	}
}

func TestFork(t *testing.T) {
	r := newRig(t)
	sb := r.create(t)
	forks := []string{ident.New(ident.Sandbox), ident.New(ident.Sandbox), ident.New(ident.Sandbox)}
	list, err := r.Fork(t.Context(), sb.ID, forks, 0)
	if err != nil || len(list) != 3 || list[2].ID != forks[2] || list[2].State != sandbox.Running {
		t.Fatalf("%v, %v", list, err)
	}
	if len(r.dropped) != 1 {
		t.Errorf("dropped %v", r.dropped)
	}
	more := []string{ident.New(ident.Sandbox), ident.New(ident.Sandbox)}
	r.refuse = more[1]
	if _, err := r.Fork(t.Context(), sb.ID, more, 0); !errors.Is(err, fault.Invalid) {
		t.Errorf("one that can't be made: %v", err)
	}
	if n := r.sandboxes.Count(r.app); n != 4 {
		if _, err := r.sandboxes.Wait(t.Context(), more[0], time.Minute); err != nil && !errors.Is(err, fault.NotFound) {
			t.Error(err)
		}
		if n = r.sandboxes.Count(r.app); n != 4 {
			t.Errorf("%d sandboxes are left", n)
		}
	}
}

func TestPause(t *testing.T) {
	r := newRig(t)
	sb := r.create(t)
	for range 2 {
		if sb, err := r.Service.Pause(t.Context(), sb.ID, 0); err != nil || sb.State != sandbox.Paused {
			t.Fatalf("%v, %v", sb.State, err)
		}
	}
	for range 2 {
		if sb, err := r.Service.Resume(t.Context(), sb.ID); err != nil || sb.State != sandbox.Running {
			t.Fatalf("%v, %v", sb.State, err)
		}
	}
}
