package call_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/fleet"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/jetstream"
	"github.com/skerry-dev/skerry/gateway/jetstream/flowtest"
	"github.com/skerry-dev/skerry/gateway/placement"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// rig is a gateway's core with the real flow, the real database and a worker at the port. It can be stopped and started again on the same
// files.
type rig struct {
	dir       string
	where     string // the database
	functions *functions
	blobs     *blobs
	clock     task.Clock
	purged    chan string       // hears of calls whose items are purged
	forgotten chan uint64       // hears of each PurgeOutputs, before which place
	expired   chan time.Time    // hears of each Expire, before when
	accepting func()            // called before inputs are recorded
	offering  func(payload.Key) // called before an input is offered

	engine *jetstream.Engine
	db     *sqlstore.DB
	tasks  *task.Scheduler
	calls  *call.Service
	cancel context.CancelFunc
	ended  sync.WaitGroup
	leave  func()

	crashed *atomic.Bool // a part may have failed
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return newRigAt(t, task.SystemClock)
}

// newRigAt is a rig with a clock.
func newRigAt(t testing.TB, clock task.Clock) *rig {
	t.Helper()
	r := &rig{
		dir: t.TempDir(), where: storetest.Where(t), functions: &functions{known: map[string]*function.Function{}}, blobs: &blobs{kept: map[string][]byte{}}, clock: clock,
		purged: make(chan string, 1000), forgotten: make(chan uint64, 1000), expired: make(chan time.Time, 10_000), accepting: func() {},
		offering: func(payload.Key) {},
	}
	r.start(t)
	t.Cleanup(func() { r.stop(t) })
	return r
}

// start opens everything and returns when the core runs.
func (r *rig) start(t testing.TB) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	var err error
	if r.engine, err = jetstream.Open(context.Background(), flowtest.Embedded(filepath.Join(r.dir, "flow")), log); err != nil {
		t.Fatal(err)
	}
	if r.db, err = sqlstore.Open(context.Background(), r.where); err != nil {
		t.Fatal(err)
	}
	r.tasks = task.New(task.Deps{
		Functions: r.functions, Images: r.functions, Secrets: r.functions, Fleet: fleet.New(), Clock: r.clock, Log: log,
	})
	r.calls = call.New(call.Deps{
		Flow: flow{r.engine, r}, Records: records{r.db, r}, Blobs: r.blobs, Dispatcher: dispatcher{r.tasks, r}, Clock: r.clock, Log: log,
	})
	r.tasks.SetSink(r.calls)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	crashed := new(atomic.Bool)
	r.crashed = crashed
	for _, run := range []func(context.Context) error{r.calls.Run, r.tasks.Run} {
		r.ended.Go(func() {
			if err := run(ctx); !errors.Is(err, context.Canceled) && !crashed.Load() {
				t.Errorf("run: %v", err)
			}
		})
	}
}

// flow is the real one, overheard.
type flow struct {
	*jetstream.Engine
	r *rig
}

func (f flow) PurgeItems(ctx context.Context, callID string) error {
	err := f.Engine.PurgeItems(ctx, callID)
	f.r.purged <- callID
	return err
}

func (f flow) PurgeOutputs(ctx context.Context, callID string, before uint64) error {
	err := f.Engine.PurgeOutputs(ctx, callID, before)
	f.r.forgotten <- before
	return err
}

// dispatcher is the real one, overheard.
type dispatcher struct {
	*task.Scheduler
	r *rig
}

func (d dispatcher) Offer(ctx context.Context, functionID string, in *task.Input) error {
	d.r.offering(in.Key)
	return d.Scheduler.Offer(ctx, functionID, in)
}

// records are the real ones, overheard.
type records struct {
	*sqlstore.DB
	r *rig
}

func (d records) Accept(ctx context.Context, batch []call.Accept) error {
	d.r.accepting()
	return d.DB.Accept(ctx, batch)
}

func (d records) Expire(ctx context.Context, before time.Time) error {
	err := d.DB.Expire(ctx, before)
	d.r.expired <- before
	return err
}

func (r *rig) stop(t testing.TB) {
	t.Helper()
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.ended.Wait()
	r.close(t)
}

// crash ends the flow first, so that everything on its way fails, and nothing gets the chance to end in good order.
func (r *rig) crash(t testing.TB) {
	t.Helper()
	r.crashed.Store(true)
	if err := r.engine.Close(); err != nil {
		t.Error(err)
	}
	r.stop(t)
}

func (r *rig) close(t testing.TB) {
	t.Helper()
	if r.leave != nil {
		r.leave()
		r.leave = nil
	}
	if err := errors.Join(r.engine.Close(), r.db.Close()); err != nil {
		t.Error(err)
	}
	r.cancel = nil
}

// join adds a worker with room for n containers.
func (r *rig) join(t testing.TB, w *worker, n uint32) (leave func()) {
	t.Helper()
	leave, err := r.tasks.Join(fleet.Worker{ID: ident.New(ident.Worker), Capacity: placement.Needs{CPUMilli: 100 * n, MemoryMiB: 1 << 20}}, w)
	if err != nil {
		t.Fatal(err)
	}
	r.leave = leave
	return leave
}

func (r *rig) function(a function.Autoscaler) *function.Function {
	if a.ScaledownWindow == 0 {
		a.ScaledownWindow = time.Hour
	}
	fn := &function.Function{
		ID: ident.New(ident.Function), AppID: ident.New(ident.App), AppName: "test", Environment: "main", Version: 1,
		Definition: function.Definition{
			Name: "f", ImageID: ident.New(ident.Image), Resources: function.Resources{CPUMilli: 100, MemoryMiB: 128}, Autoscaler: a,
		},
	}
	r.functions.add(fn)
	return fn
}

// define is function with a definition that is changed before it is used.
func (r *rig) define(change func(*function.Definition)) *function.Function {
	fn := r.function(function.Autoscaler{})
	change(&fn.Definition)
	return fn
}

// functions stands for the stores that gateway-api's nouns are.
type functions struct {
	mu    sync.Mutex
	known map[string]*function.Function
}

func (f *functions) add(fn *function.Function) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known[fn.ID] = fn
}

func (f *functions) remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.known, id)
}

func (f *functions) Function(_ context.Context, id string) (*function.Function, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fn, ok := f.known[id]; ok {
		return fn, nil
	}
	return nil, fault.New(fault.NotFound, "function %q: not there", id)
}

func (f *functions) AppFunctions(context.Context, string) ([]*function.Function, error) {
	return nil, nil
}

func (f *functions) ContainerImage(context.Context, string) (task.Image, error) {
	return task.Image{}, nil
}

func (f *functions) SecretEnv(context.Context, []string) (map[string]string, error) { return nil, nil }

type blobs struct {
	mu   sync.Mutex
	kept map[string][]byte
}

func (b *blobs) PutBlob(_ context.Context, data []byte) (payload.Ref, error) {
	sum := sha256.Sum256(data)
	ref := payload.Ref{Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: uint64(len(data))}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept[ref.Digest] = data
	return ref, nil
}

func (b *blobs) HasBlob(_ context.Context, digest string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.kept[digest]
	return ok, nil
}

// worker is a task.Worker in memory: its containers answer what its work says.
type worker struct {
	// work returns the outcome of an input; nil: none, until the container is told to cancel it or ends. It may block.
	work func(c *box, in *task.Input) *payload.Result

	mu      sync.Mutex
	boxes   []*box
	runs    map[payload.Key]int
	cancels chan payload.Key // hears of inputs to cancel

	startFailures int // containers that user code keeps from starting
}

func newWorker(work func(*box, *task.Input) *payload.Result) *worker {
	return &worker{work: work, runs: map[payload.Key]int{}, cancels: make(chan payload.Key, 10_000)}
}

// echo answers with the arguments.
func echo(_ *box, in *task.Input) *payload.Result {
	args := in.Args
	return &payload.Result{Status: payload.Success, Value: &args}
}

// lose ends all containers as if the worker's link had broken.
func (w *worker) lose() {
	w.mu.Lock()
	boxes := w.boxes
	w.boxes = nil
	w.mu.Unlock()
	for _, b := range boxes {
		b.end(task.Exit{Reason: task.Lost, Message: "link broken", Everything: true})
	}
}

func (w *worker) total() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, k := range w.runs {
		n += k
	}
	return n
}

// box is one container.
type box struct {
	w      *worker
	spec   *task.Spec
	events task.Events

	mu      sync.Mutex
	inputs  []*task.Input
	cancels []payload.Key
	stop    bool
	grace   bool
	exit    *task.Exit
	wake    chan struct{}
}

func (w *worker) Start(spec *task.Spec, events task.Events) task.Handle {
	b := &box{w: w, spec: spec, events: events, wake: make(chan struct{}, 1)}
	w.mu.Lock()
	w.boxes = append(w.boxes, b)
	w.mu.Unlock()
	go b.run()
	return b
}

func (b *box) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *box) Send(in []*task.Input)     { b.change(func() { b.inputs = append(b.inputs, in...) }) }
func (b *box) Cancel(keys []payload.Key) { b.change(func() { b.cancels = append(b.cancels, keys...) }) }
func (b *box) Stop(graceful bool)        { b.change(func() { b.stop, b.grace = true, graceful }) }
func (b *box) end(e task.Exit)           { b.change(func() { b.exit = &e }) }

func (b *box) run() {
	b.w.mu.Lock()
	b.w.startFailures--
	broken := b.w.startFailures >= 0
	b.w.mu.Unlock()
	if broken {
		b.events.Exited(task.Exit{Reason: task.StartFailed, Message: "no module named x"})
		return
	}
	b.events.Ready(nil)
	for range b.wake {
		b.mu.Lock()
		inputs, cancels, stop, grace, exit := b.inputs, b.cancels, b.stop, b.grace, b.exit
		b.inputs, b.cancels = nil, nil
		b.mu.Unlock()
		if exit != nil {
			b.events.Exited(*exit)
			return
		}
		if stop && !grace {
			b.events.Exited(task.Exit{Reason: task.Stopped})
			return
		}
		var outputs []task.Output
		for _, in := range inputs {
			b.w.mu.Lock()
			b.w.runs[in.Key]++
			b.w.mu.Unlock()
			if r := b.w.work(b, in); r != nil {
				outputs = append(outputs, task.Output{Key: in.Key, Result: *r, Elapsed: 10 * time.Microsecond})
			}
		}
		for _, k := range cancels {
			b.w.cancels <- k
			outputs = append(outputs, task.Output{Key: k, Result: payload.Failed(payload.Cancelled, "cancelled")})
		}
		if len(outputs) > 0 {
			b.events.Outputs(outputs)
		}
		if stop {
			b.events.Exited(task.Exit{Reason: task.Stopped})
			return
		}
	}
}

// client is what an SDK does: it keeps inputs until their outputs have come, and sends them again over a new session.
type client struct {
	t       testing.TB
	r       *rig
	fn      *function.Function
	id      string
	kind    call.Kind
	session *call.Session
	pending map[uint32]call.Item
	results map[uint32]payload.Result
	method  string
}

func (r *rig) client(t testing.TB, fn *function.Function, kind call.Kind) *client {
	c := &client{
		t: t, r: r, fn: fn, id: ident.New(ident.Call), kind: kind, pending: map[uint32]call.Item{}, results: map[uint32]payload.Result{},
	}
	c.session = r.calls.NewSession()
	t.Cleanup(func() { c.session.Close() })
	return c
}

func input(i uint32) call.Item {
	return call.Item{Index: i, Args: payload.Payload{Format: payload.Pickle, Inline: []byte{byte(i), byte(i >> 8)}}}
}

func (c *client) submit(from, to uint32) {
	m := call.Submit{CallID: c.id, FunctionID: c.fn.ID, Kind: c.kind}
	for i := from; i < to; i++ {
		in := input(i)
		in.Method = c.method
		m.Inputs = append(m.Inputs, in)
		c.pending[i] = in
	}
	c.session.Submit(c.t.Context(), m)
}

// reconnect begins a new session and sends what has no output again.
func (c *client) reconnect() {
	c.session.Close()
	c.session = c.r.calls.NewSession()
	m := call.Submit{CallID: c.id, FunctionID: c.fn.ID, Kind: c.kind, Resumed: true}
	for _, in := range c.pending {
		m.Inputs = append(m.Inputs, in)
	}
	if len(m.Inputs) > 0 {
		c.session.Submit(c.t.Context(), m)
	}
}

func (c *client) next() call.Frame {
	c.t.Helper()
	f, err := c.session.Next(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return f
}

// collect takes outputs until n are there in all.
func (c *client) collect(n int) {
	c.t.Helper()
	for len(c.results) < n {
		f := c.next()
		for _, refusal := range f.Refused {
			c.t.Fatalf("refused: %v", refusal.Err)
		}
		c.note(f)
	}
}

func (c *client) note(f call.Frame) {
	c.t.Helper()
	for _, o := range f.Outputs {
		if o.Key.CallID != c.id {
			c.t.Fatalf("output of call %q", o.Key.CallID)
		}
		if _, twice := c.results[o.Key.Index]; twice {
			c.t.Fatalf("two outputs for input %d", o.Key.Index)
		}
		c.results[o.Key.Index] = o.Result
		delete(c.pending, o.Key.Index)
	}
}

// accepted waits until n inputs are recorded.
func (c *client) accepted(n int) {
	c.t.Helper()
	for n > 0 {
		f := c.next()
		for _, refusal := range f.Refused {
			c.t.Fatalf("refused: %v", refusal.Err)
		}
		for _, a := range f.Accepted {
			n -= len(a.Indexes)
		}
		c.note(f)
	}
}

// refused waits for a refusal.
func (c *client) refused() error {
	c.t.Helper()
	for {
		f := c.next()
		c.note(f)
		for _, refusal := range f.Refused {
			if refusal.CallID == c.id {
				return refusal.Err
			}
		}
	}
}

// echoed checks that every result is its input.
func (c *client) echoed() {
	c.t.Helper()
	for i, r := range c.results {
		if r.Status != payload.Success || string(r.Value.Inline) != string(input(i).Args.Inline) {
			c.t.Errorf("input %d: %+v", i, r)
		}
	}
}
