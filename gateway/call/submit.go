package call

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/lineage"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Submit takes inputs. What is wrong with them is told by a Refusal in a later Frame; outputs and acceptances come there too. It blocks
// while too much is on its way. On a session that has ended, inputs may be taken all the same.
func (x *Session) Submit(ctx context.Context, m Submit) {
	if err := x.submit(ctx, &m); err != nil {
		x.fail(m.CallID, err)
	}
}

func (x *Session) submit(ctx context.Context, m *Submit) error {
	if err := x.s.check(ctx, m); err != nil {
		return err
	}
	if err := x.s.ready(ctx); err != nil {
		return err
	}
	fn, err := x.s.d.Dispatcher.Function(ctx, m.FunctionID)
	if err != nil {
		return err
	}
	if err := identity.CheckEnvironment(ctx, "function", m.FunctionID, fn.Environment); err != nil {
		return err
	}
	generates, err := checkMethods(m, &fn.Definition)
	if err != nil {
		return err
	}
	if err := x.s.subscribe(ctx, m.FunctionID); err != nil {
		return err
	}
	inputs := make([]Input, len(m.Inputs))
	for i, in := range m.Inputs {
		inputs[i] = Input{Key: payload.Key{CallID: m.CallID, Index: in.Index}, FunctionID: m.FunctionID, Kind: m.Kind, Method: in.Method, Args: in.Args}
	}
	if m.Kind == Spawn {
		return x.submitSpawn(ctx, m, fn, inputs)
	}
	return x.submitSync(ctx, m, registration{session: x, submit: m, fn: fn, inputs: inputs, generates: generates})
}

// check refuses what makes no sense.
func (s *Service) check(ctx context.Context, m *Submit) error {
	if err := ident.Check(ident.Call, m.CallID); err != nil {
		return fmt.Errorf("call: %w", err)
	}
	if err := ident.Check(ident.Function, m.FunctionID); err != nil {
		return fmt.Errorf("call %q: function: %w", m.CallID, err)
	}
	if m.Kind != Sync && m.Kind != Spawn {
		return fault.New(fault.Invalid, "call %q: unknown kind %d; want sync or spawn", m.CallID, m.Kind)
	}
	if len(m.Inputs) == 0 || len(m.Inputs) > MaxSubmit {
		return fault.New(fault.Invalid, "call %q: %d inputs in one submit; want 1 to %d", m.CallID, len(m.Inputs), MaxSubmit)
	}
	if m.ParentInputID != "" {
		parent, err := lineage.ParseInputID(m.ParentInputID)
		if err == nil && parent.CallID == m.CallID {
			err = fault.New(fault.Invalid, "input %q: is of the same call", m.ParentInputID)
		}
		if err != nil {
			return fmt.Errorf("call %q: parent: %w", m.CallID, err)
		}
	}
	for i := range m.Inputs {
		if m.Inputs[i].Index > MaxIndex {
			return fault.New(fault.Invalid, "call %q: input %d: want an index of at most %d", m.CallID, m.Inputs[i].Index, MaxIndex)
		}
		if err := s.checkArgs(ctx, &m.Inputs[i].Args); err != nil {
			return fmt.Errorf("call %q, input %d: %w", m.CallID, m.Inputs[i].Index, err)
		}
	}
	return nil
}

// checkMethods refuses methods that the function does not have, and says which of the inputs yield items; nil: none.
func checkMethods(m *Submit, d *function.Definition) (generates []bool, err error) {
	for i := range m.Inputs {
		method := m.Inputs[i].Method
		if i == 0 || method != m.Inputs[i-1].Method {
			if err := checkMethod(d, method); err != nil {
				return nil, fmt.Errorf("call %q, input %d: %w", m.CallID, m.Inputs[i].Index, err)
			}
		}
		if !yields(d, method) {
			continue
		}
		if m.Kind == Spawn {
			return nil, fault.New(fault.Invalid, "call %q: %q is a generator and can't be spawned; call it with remote_gen", m.CallID, fullName(d, method))
		}
		if generates == nil {
			generates = make([]bool, len(m.Inputs))
		}
		generates[i] = true
	}
	return generates, nil
}

func checkMethod(d *function.Definition, method string) error {
	if d.Class == nil {
		if method != "" {
			return fault.New(fault.Invalid, "function %q: is no class, and so has no method %q", d.Name, method)
		}
		return nil
	}
	var names []string
	for _, m := range d.Class.Methods {
		if m.Name == method {
			return nil
		}
		names = append(names, m.Name)
	}
	if method == "" {
		return fault.New(fault.Invalid, "class %q: no method named; it has %s", d.Name, strings.Join(names, ", "))
	}
	return fault.New(fault.NotFound, "class %q: has no method %q; it has %s", d.Name, method, strings.Join(names, ", "))
}

// yields says whether a function, or the method of a class, is a generator.
func yields(d *function.Definition, method string) bool {
	if d.Class == nil {
		return d.Generator
	}
	return slices.Contains(d.Class.Methods, function.Method{Name: method, Generator: true})
}

// fullName is the function's name as users write it.
func fullName(d *function.Definition, method string) string {
	if method == "" {
		return d.Name
	}
	return d.Name + "." + method
}

func (s *Service) checkArgs(ctx context.Context, p *payload.Payload) error {
	if p.Format != payload.Pickle && p.Format != payload.CBOR {
		return fault.New(fault.Invalid, "unknown payload format %d; want pickle or CBOR", p.Format)
	}
	if p.Blob == nil {
		if len(p.Inline) > payload.MaxInline {
			return fault.New(fault.Invalid, "%d inline bytes are over the limit of %d; send a blob", len(p.Inline), payload.MaxInline)
		}
		return nil
	}
	if err := ident.CheckDigest(p.Blob.Digest); err != nil {
		return err
	}
	if p.Blob.Size > payload.MaxSize {
		return fault.New(fault.Invalid, "%d bytes are over the limit of %d", p.Blob.Size, payload.MaxSize)
	}
	has, err := s.d.Blobs.HasBlob(ctx, p.Blob.Digest)
	if err == nil && !has {
		err = fault.New(fault.Precondition, "blob %q: not stored; upload it before the call", p.Blob.Digest)
	}
	return err
}

// registration is inputs of a SYNC call that a session has sent.
type registration struct {
	session   *Session
	submit    *Submit
	fn        *function.Function
	inputs    []Input
	generates []bool // by place in inputs; nil: none
}

// submitSync registers the inputs, so that their outputs find the session, and puts them into the flow.
func (x *Session) submitSync(ctx context.Context, m *Submit, r registration) error {
	s := x.s
	fresh, cancelled, err := s.register(&r)
	if err != nil {
		return err
	}
	if cancelled {
		ends := make([]ending, len(fresh))
		for i := range fresh {
			ends[i].output = Output{Key: fresh[i].Key, Result: cancelledByUser}
		}
		s.storeSync(ends)
		return nil
	}
	if m.Resumed {
		if fresh, err = s.answerStored(ctx, r.inputs); err != nil {
			return err
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	s.d.Flow.PutInputs(fresh, func(errs []error) {
		s.subscribeLater(m.FunctionID)
		for _, err := range errs {
			if err != nil && !isKind(err, fault.Exists) {
				x.fail(m.CallID, fmt.Errorf("call %q: not stored: %w", m.CallID, err))
				return
			}
		}
	})
	return nil
}

// register notes inputs of a SYNC call as unfinished and returns those that are new, and whether the call has been cancelled.
func (s *Service) register(r *registration) (fresh []Input, cancelled bool, err error) {
	m, fn, x := r.submit, r.fn, r.session
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.calls[m.CallID]
	if !ok {
		c = s.newSyncCall(m.CallID, fn.ID, fn.AppID)
	}
	if c.kind != Sync || c.functionID != fn.ID {
		return nil, false, fault.New(fault.Invalid, "call %q: has another kind or function; choose a new id for a new call", m.CallID)
	}
	c.appID = fn.AppID
	w, reopened := c.watch(x), 0
	for i := range r.inputs {
		k := r.inputs[i].Key
		wanted, known := c.unfinished[k.Index]
		switch {
		case !known: // an index that is in the batch twice is known the second time
			c.unfinished[k.Index] = true
			fresh = append(fresh, r.inputs[i])
		case !wanted:
			c.unfinished[k.Index] = true
			c.wanted++
			reopened++
		}
		if m.Resumed {
			c.resume(k.Index)
		}
		if r.generates != nil && r.generates[i] {
			s.feed(x, c, k, !known && !m.Resumed, m.Seen[k.Index])
		}
	}
	if n := c.wanted + len(fresh); n > MaxUnfinished {
		for i := range fresh {
			delete(c.unfinished, fresh[i].Key.Index)
			delete(c.resumed, fresh[i].Key.Index)
		}
		c.tellEnd()
		return nil, false, fault.New(fault.Exhausted, "call %q: %d unfinished inputs; wait for outputs before sending more than %d", m.CallID, n, MaxUnfinished)
	}
	c.wanted += len(fresh)
	c.inputs += uint32(len(fresh))
	s.forgetReceived(c, w, len(fresh)+reopened)
	if m.ParentInputID != "" {
		s.traces.Begin(m.CallID, m.ParentInputID, nodesOf(fn, fresh))
	}
	return fresh, c.cancelled, nil
}

// newSyncCall adds a call. The mutex is held.
func (s *Service) newSyncCall(id, functionID, appID string) *callState {
	c := &callState{
		id: id, functionID: functionID, appID: appID, kind: Sync, createdAt: s.d.Clock.Now(), unfinished: map[uint32]bool{},
	}
	s.calls[id] = c
	return c
}

// accept is a Submit of a SPAWN call on its way to SQL.
type accept struct {
	session *Session
	resumed bool
	record  Record
	inputs  []Input // as sent
	size    int     // of the inputs, as far as the session's room is concerned
}

// inputOverhead is about what an input takes beside its arguments, in bytes.
const inputOverhead = 256

// submitSpawn has the inputs recorded; the rest follows in runAccepts.
func (x *Session) submitSpawn(ctx context.Context, m *Submit, fn *function.Function, inputs []Input) error {
	size := 0
	for i := range inputs {
		size += inputOverhead + len(inputs[i].Args.Inline)
	}
	if err := x.reserve(ctx, size); err != nil {
		return err
	}
	x.s.accepts.Add(accept{
		session: x, resumed: m.Resumed, inputs: inputs, size: size,
		record: Record{
			CallID: m.CallID, FunctionID: fn.ID, AppID: fn.AppID, FunctionName: fn.Definition.Name, ParentInputID: m.ParentInputID,
			CreatedAt: x.s.d.Clock.Now(),
		},
	})
	return nil
}

// maxCommit bounds the submits in one transaction.
const maxCommit = 256

// runAccepts records SPAWN inputs, as many as wait in one transaction, tells the sessions, and puts them into the flow.
func (s *Service) runAccepts(ctx context.Context) error {
	for {
		batch, err := s.accepts.Take(ctx, maxCommit)
		if err != nil {
			return err
		}
		err = s.record(ctx, batch)
		for i := range batch {
			batch[i].session.unreserve(batch[i].size)
		}
		if err != nil {
			s.d.Log.Error("spawned inputs not recorded", "error", err)
			for i := range batch {
				batch[i].session.fail(batch[i].record.CallID, err)
			}
			continue
		}
		for i := range batch {
			s.accepted(ctx, &batch[i])
		}
	}
}

// record stores the batch in SQL, with what is too large for a row as blobs.
func (s *Service) record(ctx context.Context, batch []accept) error {
	rows := make([]Accept, len(batch))
	for i := range batch {
		rows[i].Record = batch[i].record
		rows[i].Inputs = make([]Input, len(batch[i].inputs))
		copy(rows[i].Inputs, batch[i].inputs)
		for j := range rows[i].Inputs {
			args, err := s.shrink(ctx, &rows[i].Inputs[j].Args)
			if err != nil {
				return err
			}
			rows[i].Inputs[j].Args = *args
		}
	}
	return s.d.Records.Accept(ctx, rows)
}

// shrink returns p, as a blob if it is too large for a SQL record.
func (s *Service) shrink(ctx context.Context, p *payload.Payload) (*payload.Payload, error) {
	if p == nil || p.Blob != nil || len(p.Inline) <= MaxRecorded {
		return p, nil
	}
	ref, err := s.d.Blobs.PutBlob(ctx, bytes.Clone(p.Inline))
	if err != nil {
		return nil, fmt.Errorf("payload of %d bytes: %w", len(p.Inline), err)
	}
	return &payload.Payload{Format: p.Format, Blob: &ref}, nil
}

// accepted tells the session and puts the inputs into the flow. If that fails, the reconciler does it later.
func (s *Service) accepted(ctx context.Context, a *accept) {
	indexes := make([]uint32, len(a.inputs))
	for i := range a.inputs {
		indexes[i] = a.inputs[i].Key.Index
	}
	a.session.add(func(f *Frame) { f.Accepted = append(f.Accepted, Acceptance{a.record.CallID, indexes}) })
	inputs := a.inputs
	if a.resumed {
		var err error
		if inputs, err = s.stillPending(ctx, inputs); err != nil {
			s.d.Log.Error("resumed inputs left to the reconciler", "call", a.record.CallID, "error", err)
			return
		}
		s.mu.Lock()
		for i := range inputs {
			s.doubtful[inputs[i].Key] = putting // it may end before it is put
		}
		s.mu.Unlock()
	}
	s.republish(inputs, a.resumed)
}
