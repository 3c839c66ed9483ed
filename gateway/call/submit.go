package call

import (
	"bytes"
	"context"
	"fmt"

	"github.com/skerry-dev/skerry/gateway/function"
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
	if err := x.s.subscribe(ctx, m.FunctionID); err != nil {
		return err
	}
	inputs := make([]Input, len(m.Inputs))
	for i, in := range m.Inputs {
		inputs[i] = Input{Key: payload.Key{CallID: m.CallID, Index: in.Index}, FunctionID: m.FunctionID, Kind: m.Kind, Args: in.Args}
	}
	if m.Kind == Spawn {
		return x.submitSpawn(ctx, m, fn, inputs)
	}
	return x.submitSync(ctx, m, fn, inputs)
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
	if len(m.ParentInputID) > maxParentID {
		return fault.New(fault.Invalid, "call %q: parent input id of %d characters; want at most %d", m.CallID, len(m.ParentInputID), maxParentID)
	}
	for i := range m.Inputs {
		if err := s.checkArgs(ctx, &m.Inputs[i].Args); err != nil {
			return fmt.Errorf("call %q, input %d: %w", m.CallID, m.Inputs[i].Index, err)
		}
	}
	return nil
}

const maxParentID = 64

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

// submitSync registers the inputs, so that their outputs find the session, and puts them into the flow.
func (x *Session) submitSync(ctx context.Context, m *Submit, fn *function.Function, inputs []Input) error {
	s := x.s
	fresh, cancelled, err := s.register(x, m, fn, inputs)
	if err != nil {
		return err
	}
	if cancelled {
		ends := make([]ending, len(fresh))
		for i := range fresh {
			ends[i].output = Output{fresh[i].Key, cancelledByUser}
		}
		s.storeSync(ends)
		return nil
	}
	if m.Resumed {
		if fresh, err = s.answerStored(ctx, inputs); err != nil {
			return err
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	s.d.Flow.PutInputs(fresh, func(errs []error) {
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
func (s *Service) register(x *Session, m *Submit, fn *function.Function, inputs []Input) (fresh []Input, cancelled bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.calls[m.CallID]
	if !ok {
		c = s.newSyncCall(m.CallID, fn.ID, fn.AppID)
	}
	if c.kind != Sync || c.functionID != fn.ID {
		return nil, false, fault.New(fault.Invalid, "call %q: has another kind or function; choose a new id for a new call", m.CallID)
	}
	c.watch(x)
	for i := range inputs {
		wanted, known := c.unfinished[inputs[i].Key.Index]
		switch {
		case !known: // an index that is in the batch twice is known the second time
			c.unfinished[inputs[i].Key.Index] = true
			fresh = append(fresh, inputs[i])
		case !wanted:
			c.unfinished[inputs[i].Key.Index] = true
			c.wanted++
		}
	}
	if n := c.wanted + len(fresh); n > MaxUnfinished {
		for i := range fresh {
			delete(c.unfinished, fresh[i].Key.Index)
		}
		return nil, false, fault.New(fault.Exhausted, "call %q: %d unfinished inputs; wait for outputs before sending more than %d", m.CallID, n, MaxUnfinished)
	}
	c.wanted += len(fresh)
	c.inputs += uint32(len(fresh))
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

// answerStored answers the inputs that have an output already, and returns the others.
func (s *Service) answerStored(ctx context.Context, inputs []Input) ([]Input, error) {
	var rest []Input
	for i := range inputs {
		result, err := s.d.Flow.Output(ctx, inputs[i].Key)
		switch {
		case err == nil:
			s.finishSync(Output{inputs[i].Key, result})
		case isKind(err, fault.NotFound):
			rest = append(rest, inputs[i])
		default:
			return nil, err
		}
	}
	return rest, nil
}

// accept is a Submit of a SPAWN call on its way to SQL.
type accept struct {
	session *Session
	resumed bool
	record  Record
	inputs  []Input // as sent
}

// submitSpawn has the inputs recorded; the rest follows in runAccepts.
func (x *Session) submitSpawn(_ context.Context, m *Submit, fn *function.Function, inputs []Input) error {
	x.s.accepts.add(accept{
		session: x, resumed: m.Resumed, inputs: inputs,
		record: Record{CallID: m.CallID, FunctionID: fn.ID, AppID: fn.AppID, ParentInputID: m.ParentInputID, CreatedAt: x.s.d.Clock.Now()},
	})
	return nil
}

// maxCommit bounds the submits in one transaction.
const maxCommit = 256

// runAccepts records SPAWN inputs, as many as wait in one transaction, tells the sessions, and puts them into the flow.
func (s *Service) runAccepts(ctx context.Context) error {
	for {
		batch, err := s.accepts.take(ctx, maxCommit)
		if err != nil {
			return err
		}
		if err := s.record(ctx, batch); err != nil {
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
		if inputs, err = s.pending(ctx, a.record.CallID); err != nil {
			s.d.Log.Error("resumed inputs left to the reconciler", "call", a.record.CallID, "error", err)
			return
		}
	}
	s.republish(inputs)
}

// Watch answers with the call's state and has its outputs sent, those there are and those to come.
func (x *Session) Watch(ctx context.Context, m Watch) {
	if err := x.watch(ctx, m); err != nil {
		x.fail(m.CallID, err)
	}
}

func (x *Session) watch(ctx context.Context, m Watch) error {
	if err := ident.Check(ident.Call, m.CallID); err != nil {
		return fmt.Errorf("call: %w", err)
	}
	s := x.s
	state, err := s.d.Records.Get(ctx, m.CallID)
	if isKind(err, fault.NotFound) && s.watchSync(x, m) {
		return nil
	}
	if err != nil {
		return err
	}
	x.add(func(f *Frame) { f.States = append(f.States, state) })
	if state.Expired {
		return nil
	}
	s.watchSpawn(x, m, state)
	return s.sendRecorded(ctx, m)
}

// watchSync is Watch of a SYNC call that is known here.
func (s *Service) watchSync(x *Session, m Watch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.calls[m.CallID]
	if !ok || c.kind != Sync {
		return false
	}
	c.watch(x).from = m.FromIndex
	state := c.state()
	x.add(func(f *Frame) { f.States = append(f.States, state) })
	return true
}

func (s *Service) watchSpawn(x *Session, m Watch, state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.calls[m.CallID]
	if !ok {
		c = &callState{id: m.CallID, functionID: state.FunctionID, appID: state.AppID, kind: Spawn, createdAt: state.CreatedAt}
		s.calls[m.CallID] = c
	}
	w := c.watch(x)
	w.from, w.seen = m.FromIndex, make(map[uint32]bool, len(m.Seen))
	for _, i := range m.Seen {
		w.seen[i] = true
	}
}

// recordPage is how many records are read at a time.
const recordPage = 256

// sendRecorded hands out the outputs that are in SQL. The watcher was there before they were read, so none is missed; seen keeps them from
// being sent twice.
func (s *Service) sendRecorded(ctx context.Context, m Watch) error {
	for from := m.FromIndex; ; {
		outputs, err := s.d.Records.Outputs(ctx, m.CallID, from, recordPage)
		if err != nil {
			return err
		}
		s.mu.Lock()
		if c, ok := s.calls[m.CallID]; ok {
			for _, o := range outputs {
				c.handOut(o)
			}
		}
		s.mu.Unlock()
		if len(outputs) < recordPage {
			return nil
		}
		from = outputs[len(outputs)-1].Key.Index + 1
	}
}
