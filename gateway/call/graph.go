package call

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Bounds of graphs.
const (
	// MaxGraph is how many inputs a graph has at most.
	MaxGraph = 10_000
	// MaxTraced is how many inputs of SYNC calls made by other inputs are remembered, over all calls; the oldest calls are forgotten.
	MaxTraced = 50_000
)

// Node is an input in a graph of calls.
type Node struct {
	Key           payload.Key
	ParentInputID string // empty: a client outside made the call
	FunctionID    string
	FunctionName  string // with the method's behind a dot where it is a class
	ContainerID   string // empty: none yet, or not known
	Status        payload.Status
	Finished      bool // else Status means nothing
}

// InputID is how users see an input: "in-", the call's characters, "-" and the index.
func InputID(k payload.Key) string {
	return "in-" + strings.TrimPrefix(k.CallID, string(ident.Call)+"-") + "-" + strconv.FormatUint(uint64(k.Index), 10)
}

func parseInputID(id string) (payload.Key, error) {
	rest, ok := strings.CutPrefix(id, "in-")
	call, index, found := strings.Cut(rest, "-")
	k := payload.Key{CallID: string(ident.Call) + "-" + call}
	i, err := strconv.ParseUint(index, 10, 32)
	k.Index = uint32(i)
	if !ok || !found || err != nil || ident.Check(ident.Call, k.CallID) != nil || InputID(k) != id {
		return payload.Key{}, fault.New(fault.Invalid, "input id %q: want in-, 22 letters or digits, - and the index", id[:min(len(id), 64)])
	}
	return k, nil
}

// ParentCall returns the call that an input id names, or an empty one where there is none.
func ParentCall(inputID string) string {
	k, err := parseInputID(inputID)
	if err != nil {
		return ""
	}
	return k.CallID
}

// Graph returns the inputs of a call, those of the calls that these made, and so on, parents before children, at most MaxGraph. SYNC calls
// that a client outside made are known while they last, and those that inputs made for a while after. It returns a fault.NotFound for a call
// that is not known.
func (s *Service) Graph(ctx context.Context, callID string) ([]Node, error) {
	if err := ident.Check(ident.Call, callID); err != nil {
		return nil, err
	}
	nodes, err := s.rootNodes(ctx, callID)
	if err == nil && len(nodes) > 0 {
		err = s.permit(ctx, &State{CallID: callID, FunctionID: nodes[0].FunctionID})
	}
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{callID: true}
	calls := []string{callID}
	for i := 0; i < len(calls) && len(nodes) < MaxGraph; i++ {
		s.mu.Lock()
		children := s.traces.children(calls[i])
		s.mu.Unlock()
		recorded, err := s.d.Records.ChildNodes(ctx, calls[i], MaxGraph-len(nodes))
		if err != nil {
			return nil, err
		}
		level := map[string]bool{} // calls found here; others that were met before would close a circle
		for _, n := range append(recorded, children...) {
			id := n.Key.CallID
			if !seen[id] {
				seen[id], level[id] = true, true
				calls = append(calls, id)
			}
			if level[id] && len(nodes) < MaxGraph {
				nodes = append(nodes, n)
			}
		}
	}
	s.locate(nodes)
	return nodes, nil
}

func (s *Service) rootNodes(ctx context.Context, callID string) ([]Node, error) {
	nodes, err := s.d.Records.CallNodes(ctx, callID, MaxGraph)
	if err != nil || len(nodes) > 0 {
		return nodes, err
	}
	s.mu.Lock()
	nodes = s.traces.nodes(callID)
	c, live := s.calls[callID]
	var functionID string
	var unfinished []uint32
	if live = live && c.kind == Sync; live {
		functionID = c.functionID
		for i := range c.unfinished {
			unfinished = append(unfinished, i)
		}
	}
	s.mu.Unlock()
	if len(nodes) > 0 {
		return nodes, nil
	}
	if !live {
		_, err := s.d.Records.Get(ctx, callID) // one whose inputs have expired has none
		return nil, err
	}
	fn, err := s.d.Dispatcher.Function(ctx, functionID)
	if err != nil {
		return nil, err
	}
	slices.Sort(unfinished)
	for _, i := range unfinished {
		nodes = append(nodes, Node{Key: payload.Key{CallID: callID, Index: i}, FunctionID: functionID, FunctionName: fn.Definition.Name})
	}
	return nodes, nil
}

// locate fills in the containers of inputs that run.
func (s *Service) locate(nodes []Node) {
	known := map[string]map[uint32]string{}
	for i := range nodes {
		n := &nodes[i]
		if n.Finished {
			continue
		}
		holders, ok := known[n.Key.CallID]
		if !ok {
			holders = s.d.Dispatcher.Holders(n.Key.CallID)
			known[n.Key.CallID] = holders
		}
		n.ContainerID = holders[n.Key.Index]
	}
}

// traces remembers SYNC calls that inputs have made, which are recorded nowhere else. It is guarded by the Service's mutex.
type traces struct {
	calls  map[string]*trace
	made   map[string][]string // calls by the call of the input that made them
	order  []string            // calls, oldest first
	inputs int
}

type trace struct {
	parent string // input
	inputs []Node
	place  map[uint32]int // in inputs, of those that have not ended
}

func newTraces() traces { return traces{calls: map[string]*trace{}, made: map[string][]string{}} }

// begin notes inputs of a call that an input made. Of very many only the first are.
func (t *traces) begin(m *Submit, fn *function.Function, inputs []Input) {
	c, ok := t.calls[m.CallID]
	if !ok {
		c = &trace{parent: m.ParentInputID, place: map[uint32]int{}}
		t.calls[m.CallID] = c
		t.made[ParentCall(c.parent)] = append(t.made[ParentCall(c.parent)], m.CallID)
		t.order = append(t.order, m.CallID)
	}
	for i := range inputs {
		if len(c.inputs) == MaxGraph {
			return
		}
		c.place[inputs[i].Key.Index] = len(c.inputs)
		c.inputs = append(c.inputs, Node{
			Key: inputs[i].Key, ParentInputID: c.parent, FunctionID: fn.ID, FunctionName: fullName(&fn.Definition, inputs[i].Method),
		})
		t.inputs++
	}
	for t.inputs > MaxTraced {
		t.forget(t.order[0])
	}
}

func (t *traces) forget(callID string) {
	c := t.calls[callID]
	parent := ParentCall(c.parent)
	delete(t.calls, callID)
	t.order = slices.Delete(t.order, 0, 1)
	t.inputs -= len(c.inputs)
	siblings := t.made[parent]
	if i := slices.Index(siblings, callID); i >= 0 {
		siblings = slices.Delete(siblings, i, i+1)
	}
	if t.made[parent] = siblings; len(siblings) == 0 {
		delete(t.made, parent)
	}
}

// finish notes how an input ended.
func (t *traces) finish(o Output) {
	c, ok := t.calls[o.Key.CallID]
	if !ok {
		return
	}
	if i, ok := c.place[o.Key.Index]; ok {
		n := &c.inputs[i]
		n.Finished, n.Status, n.ContainerID = true, o.Result.Status, o.ContainerID
		delete(c.place, o.Key.Index)
	}
}

func (t *traces) nodes(callID string) []Node {
	if c, ok := t.calls[callID]; ok {
		return slices.Clone(c.inputs)
	}
	return nil
}

// children returns the inputs of the calls that inputs of a call made.
func (t *traces) children(callID string) []Node {
	var nodes []Node
	for _, id := range t.made[callID] {
		nodes = append(nodes, t.nodes(id)...)
	}
	return nodes
}
