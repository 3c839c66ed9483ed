package sandbox_test

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
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// rig is a service over a real database, with a worker by hand.
type rig struct {
	*sandbox.Service
	t     *testing.T
	db    *sqlstore.DB
	fleet *fleet.Fleet
	app   string
	stop  func()

	mu       sync.Mutex
	followed map[string][]sandbox.State
}

func (r *rig) Find(context.Context, string, string) (*app.App, error) {
	return &app.App{ID: r.app, Environment: "main", Name: "box", State: app.Deployed}, nil
}

func (r *rig) SandboxImage(context.Context, string) (sandbox.Image, error) {
	return sandbox.Image{Cmd: []string{"serve"}}, nil
}

func (r *rig) Variables(_ context.Context, _ string, ids []string) (map[string]string, error) {
	env := map[string]string{}
	for _, id := range ids {
		env["TOKEN"] = "value of " + id
	}
	return env, nil
}

func (r *rig) Check(context.Context, string) error { return nil }

func (r *rig) CheckVolume(context.Context, string, string) error { return nil }
func (r *rig) Opened(string, string, string)                     {}
func (r *rig) Closed(string)                                     {}
func (r *rig) definition() sandbox.Definition {
	return sandbox.Definition{ImageID: ident.New(ident.Image)}
}
func newRig(t *testing.T) *rig {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), storetest.Where(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return start(t, db, ident.New(ident.App))
}

// start starts a gateway's service on what an earlier one has left.
func start(t *testing.T, db *sqlstore.DB, appID string) *rig {
	t.Helper()
	r := &rig{t: t, db: db, fleet: fleet.New(), app: appID, followed: map[string][]sandbox.State{}}
	r.Service = sandbox.New(sandbox.Deps{
		Store: db, Apps: r, Images: r, Secrets: r, Trees: r, Volumes: r, Output: r, Fleet: r.fleet, Follow: r, Log: slog.New(slog.DiscardHandler),
	})
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Run(ctx) // its end is ctx's
	}()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			<-done
		})
	}
	t.Cleanup(r.stop)
	return r
}

// worker is a worker's end, by hand: a port of the service.
type worker struct {
	id string

	mu        sync.Mutex
	has       map[string]sandbox.Spec
	state     map[string]sandbox.Status
	stopped   map[string]sandbox.Reason
	forgotten chan string
	renewed   chan string // value of an egress rule that was set again
	refuse    error
	feed      chan sandbox.Status
}

func newWorker() *worker {
	return &worker{
		id: ident.New(ident.Worker), has: map[string]sandbox.Spec{}, state: map[string]sandbox.Status{}, stopped: map[string]sandbox.Reason{},
		forgotten: make(chan string, 100), renewed: make(chan string, 100), feed: make(chan sandbox.Status, 100),
	}
}

func (w *worker) Start(_ context.Context, spec sandbox.Spec) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return w.refuse
	}
	id := spec.Sandbox.ID
	w.has[id] = spec
	w.state[id] = sandbox.Status{ID: id, State: sandbox.Starting, ExpiresAt: spec.Sandbox.ExpiresAt, Record: spec.Record}
	return nil
}

func (w *worker) Stop(_ context.Context, id string, reason sandbox.Reason) error {
	w.mu.Lock()
	w.stopped[id] = reason
	st := w.state[id]
	w.mu.Unlock()
	st.State, st.End = sandbox.Ended, &sandbox.End{Reason: reason, At: time.Now()}
	w.say(st)
	return nil
}

func (w *worker) Update(_ context.Context, id string, u sandbox.Update) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.EgressRules != nil {
		w.renewed <- (*u.EgressRules)[0].Value
	}
	st := w.state[id]
	if u.Record != nil {
		st.Record = u.Record
	}
	w.state[id] = st
	return nil
}

func (w *worker) Forget(_ context.Context, id string) error {
	w.mu.Lock()
	st, there := w.state[id]
	w.mu.Unlock()
	if there && st.State != sandbox.Ended {
		return fault.New(fault.Precondition, "sandbox %q: has not ended", id)
	}
	w.forgotten <- id
	return nil
}

func (w *worker) Seal(context.Context, string, string, map[string]string) error { return nil }

func (w *worker) Usage(context.Context, string) (sandbox.Usage, error) { return sandbox.Usage{}, nil }

func (w *worker) Watch(ctx context.Context, changed func(sandbox.Status), complete func()) error {
	w.mu.Lock()
	all := maps.Clone(w.state)
	w.mu.Unlock()
	for _, st := range all {
		changed(st)
	}
	complete()
	for {
		select {
		case st := <-w.feed:
			changed(st)
		case <-ctx.Done():
			return nil
		}
	}
}

// say has the worker say how a sandbox is.
func (w *worker) say(st sandbox.Status) {
	w.mu.Lock()
	w.state[st.ID] = st
	w.mu.Unlock()
	w.feed <- st
}

func (w *worker) runs(id string) {
	w.mu.Lock()
	st := w.state[id]
	w.mu.Unlock()
	st.State = sandbox.Running
	w.say(st)
}

// join links a worker, until the function that it returns is called.
func (r *rig) join(w *worker) (leave func()) {
	r.t.Helper()
	if err := r.fleet.Join(fleet.Worker{ID: w.id, Capacity: placement.Needs{CPUMilli: 1000, MemoryMiB: 1000}}); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Join(ctx, w.id, w)
	}()
	var once sync.Once
	leave = func() {
		once.Do(func() {
			cancel()
			<-done
			r.fleet.Leave(w.id)
		})
	}
	r.t.Cleanup(leave)
	return leave
}

func (r *rig) create(change func(*sandbox.Definition)) sandbox.Sandbox {
	r.t.Helper()
	d := r.definition()
	if change != nil {
		change(&d)
	}
	var sb sandbox.Sandbox
	var err error
	for { // until the worker has joined
		sb, err = r.Create(r.t.Context(), sandbox.Request{ID: ident.New(ident.Sandbox), AppID: r.app, Definition: d})
		if !errors.Is(err, fault.Unavailable) {
			break
		}
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return sb
}

func (r *rig) await(id string, state sandbox.State) {
	r.t.Helper()
	var sb sandbox.Sandbox
	err := r.Events(r.t.Context(), sandbox.Filter{ID: id}, func() error { return nil }, func(e sandbox.Event) error {
		if sb = e.Sandbox; sb.State == state {
			return errSeen
		}
		return nil
	})
	if sb.State != state {
		r.t.Fatalf("sandbox %s is in state %d, want %d: %v", id, sb.State, state, err)
	}
}

var errSeen = errors.New("seen")

func TestLife(t *testing.T) {
	r, w := newRig(t), newWorker()
	r.join(w)
	sb := r.create(func(d *sandbox.Definition) { d.Name, d.SecretIDs = "one", []string{ident.New(ident.Secret)} })
	if spec := w.has[sb.ID]; spec.Sandbox.Definition.Argv[0] != "serve" || spec.SecretEnv["TOKEN"] == "" || sb.State != sandbox.Starting {
		t.Fatalf("started as %+v", spec)
	}
	again, err := r.Create(t.Context(), sandbox.Request{ID: sb.ID, AppID: r.app, Definition: r.definition()})
	if err != nil || again.CreatedAt != sb.CreatedAt {
		t.Fatalf("asked again: %v, %v", again, err)
	}
	w.runs(sb.ID)
	r.await(sb.ID, sandbox.Running)
	if found, err := r.Named(t.Context(), "main", "box", "one"); err != nil || found.ID != sb.ID {
		t.Fatalf("by name: %v, %v", found, err)
	}
	_, err = r.Create(t.Context(), sandbox.Request{ID: ident.New(ident.Sandbox), AppID: r.app, Definition: sandbox.Definition{
		ImageID: ident.New(ident.Image), Name: "one",
	}})
	if !errors.Is(err, fault.Exists) {
		t.Fatalf("a second of the name: %v", err)
	}
	ended, err := r.Terminate(t.Context(), sb.ID, true)
	if err != nil || ended.End.Reason != sandbox.Terminated || ended.End.ReturnCode != 137 {
		t.Fatalf("terminated: %+v, %v", ended.End, err)
	}
	if id := <-w.forgotten; id != sb.ID {
		t.Fatalf("forgot %s", id)
	}
	if stored, err := r.Get(t.Context(), sb.ID); err != nil || stored.State != sandbox.Ended {
		t.Fatalf("after its end: %v, %v", stored, err)
	}
	if _, err := r.Terminate(t.Context(), sb.ID, true); err != nil {
		t.Fatalf("terminated again: %v", err)
	}
	next := r.create(func(d *sandbox.Definition) { d.Name = "one" })
	if next.ID == sb.ID {
		t.Fatal("the name was not free")
	}
	if free := r.fleet.Snapshot()[0].Reserved; free.CPUMilli != sandbox.DefaultReservedCPUMilli {
		t.Errorf("reserved: %+v", free)
	}
}

// TestGatewayIsReplaced has the worker's sandboxes outlive the gateway that made them.
func TestGatewayIsReplaced(t *testing.T) {
	r, w := newRig(t), newWorker()
	leave := r.join(w)
	secret := ident.New(ident.Secret)
	known := r.create(func(d *sandbox.Definition) {
		d.Egress = []sandbox.EgressSecret{{SecretID: secret, Variable: "TOKEN", Hosts: []string{"example.com"}, Format: "Bearer {}"}}
	})
	unwritten := r.create(func(d *sandbox.Definition) { d.Tags = map[string]string{"a": "b"} })
	w.runs(known.ID)
	r.await(known.ID, sandbox.Running)
	if err := r.SetTags(t.Context(), unwritten.ID, map[string]string{"a": "c"}); err != nil {
		t.Fatal(err)
	}
	lost := r.create(nil)
	leave()
	if _, _, err := r.Locate(t.Context(), known.ID); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("without its worker: %v", err)
	}
	r.stop()
	w.mu.Lock()
	delete(w.state, lost.ID)
	for id, st := range w.state { // the worker was started again as well
		st.Adopted = true
		w.state[id] = st
	}
	w.mu.Unlock()

	next := start(t, r.db, r.app)
	if _, err := next.Get(t.Context(), ident.New(ident.Sandbox)); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("an unknown one before any worker has linked: %v", err)
	}
	next.join(w)
	next.await(lost.ID, sandbox.Ended)
	if value := <-w.renewed; value != "Bearer value of "+secret {
		t.Errorf("its worker got %q for its requests", value)
	}
	if _, err := next.Get(t.Context(), ident.New(ident.Sandbox)); !errors.Is(err, fault.NotFound) {
		t.Fatalf("an unknown one: %v", err)
	}
	list, _, err := next.List(t.Context(), sandbox.Query{Filter: sandbox.Filter{Tags: map[string]string{"a": "c"}}})
	if err != nil || len(list) != 1 || list[0].ID != unwritten.ID {
		t.Fatalf("by new tag: %v, %v", list, err)
	}
	if _, _, err := next.Locate(t.Context(), known.ID); err != nil {
		t.Fatalf("with its worker back: %v", err)
	}
	all, _, err := next.List(t.Context(), sandbox.Query{WithEnded: true})
	if err != nil || len(all) != 3 {
		t.Fatalf("all: %d, %v", len(all), err)
	}
}

func TestNoRoomAndRefusals(t *testing.T) {
	r, w := newRig(t), newWorker()
	_, err := r.Create(t.Context(), sandbox.Request{ID: ident.New(ident.Sandbox), AppID: r.app, Definition: r.definition()})
	if !errors.Is(err, fault.Unavailable) {
		t.Fatalf("before a worker has linked to a gateway that has just started: %v", err)
	}
	r.join(w)
	sb := r.create(nil)
	w.mu.Lock()
	w.refuse = fault.New(fault.Exhausted, "the disk is full")
	w.mu.Unlock()
	_, err = r.Create(t.Context(), sandbox.Request{ID: ident.New(ident.Sandbox), AppID: r.app, Definition: sandbox.Definition{
		ImageID: ident.New(ident.Image), Name: "two",
	}})
	if !errors.Is(err, fault.Exhausted) {
		t.Fatalf("refused: %v", err)
	}
	w.mu.Lock()
	w.refuse = nil
	w.mu.Unlock()
	r.create(func(d *sandbox.Definition) { d.Name = "two" }) // the name is free again
	if list, _, _ := r.List(t.Context(), sandbox.Query{}); len(list) != 2 {
		t.Errorf("%d sandboxes", len(list))
	}
	if ended, err := r.Prune(t.Context(), sandbox.Prune{Filter: sandbox.Filter{AppID: r.app}}); err != nil || len(ended) != 2 {
		t.Errorf("pruned %d, %v", len(ended), err)
	}
	r.await(sb.ID, sandbox.Ended)
	if _, err := r.Prune(t.Context(), sandbox.Prune{}); !errors.Is(err, fault.Invalid) {
		t.Errorf("pruned without saying what: %v", err)
	}
}

func TestStopOfAnApp(t *testing.T) {
	r, w := newRig(t), newWorker()
	leave := r.join(w)
	r.create(nil)
	<-r.StopApp(t.Context(), r.app)
	away := r.create(nil)
	leave()
	<-r.StopApp(t.Context(), r.app)
	r.await(away.ID, sandbox.Ended)
	r.join(w)
	for id := ""; id != away.ID; { // it does not come to life again
		id = <-w.forgotten
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := r.Count(r.app); n != 0 || w.stopped[away.ID] != sandbox.Terminated {
		t.Errorf("%d are left; stopped: %v", n, w.stopped)
	}
}

func TestDefinitions(t *testing.T) {
	image := ident.New(ident.Image)
	open, none := &sandbox.Allowlist{Entries: []string{"*.example.com"}}, &sandbox.Allowlist{}
	for name, d := range map[string]sandbox.Definition{
		"no image":           {},
		"empty program":      {ImageID: image, Argv: []string{""}},
		"long command":       {ImageID: image, Argv: []string{string(make([]byte, sandbox.MaxArgvBytes+1))}},
		"relative workdir":   {ImageID: image, Workdir: "here"},
		"long life":          {ImageID: image, Timeout: 31 * 24 * time.Hour},
		"bad name":           {ImageID: image, Name: "a b"},
		"bad tag":            {ImageID: image, Tags: map[string]string{"": "x"}},
		"blocked and open":   {ImageID: image, Network: sandbox.Network{Block: true, OutboundDomains: open}},
		"blocked with ports": {ImageID: image, Network: sandbox.Network{Block: true}, Ports: []sandbox.Port{{Port: 80, Kind: sandbox.H2}}},
		"not a CIDR":         {ImageID: image, Network: sandbox.Network{OutboundCIDRs: open}},
		"a port twice":       {ImageID: image, Ports: []sandbox.Port{{Port: 80, Kind: sandbox.H2}, {Port: 80, Kind: sandbox.H2}}},
		"probe of nothing":   {ImageID: image, Probe: &sandbox.Probe{}},
		"pause without idle": {ImageID: image, PauseWhenIdle: true},
		"egress to all":      {ImageID: image, Egress: []sandbox.EgressSecret{{SecretID: ident.New(ident.Secret), Variable: "A", Hosts: []string{"*"}}}},
	} {
		if _, err := d.Checked(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d, err := sandbox.Definition{ImageID: image, Network: sandbox.Network{OutboundDomains: open, OutboundCIDRs: none}}.Checked()
	if err != nil || d.Timeout != sandbox.DefaultTimeout {
		t.Errorf("%+v, %v", d, err)
	}
}
