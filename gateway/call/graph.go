package call

import (
	"context"
	"slices"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/lineage"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Graph returns the inputs of a call, those of the calls that these made, and so on, parents before children, at most lineage.MaxNodes. SYNC calls
// that a client outside made are known while they last, and those that inputs made for a while after. It returns a fault.NotFound for a call
// that is not known.
func (s *Service) Graph(ctx context.Context, callID string) ([]lineage.Node, error) {
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
	for i := 0; i < len(calls) && len(nodes) < lineage.MaxNodes; i++ {
		s.mu.Lock()
		children := s.traces.Children(calls[i])
		s.mu.Unlock()
		recorded, err := s.d.Records.ChildNodes(ctx, calls[i], lineage.MaxNodes-len(nodes))
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
			if level[id] && len(nodes) < lineage.MaxNodes {
				nodes = append(nodes, n)
			}
		}
	}
	s.locate(nodes)
	s.nameModules(ctx, nodes)
	return nodes, nil
}

// nameModules fills in the modules of functions that are known.
func (s *Service) nameModules(ctx context.Context, nodes []lineage.Node) {
	modules := map[string]string{}
	for i := range nodes {
		id := nodes[i].FunctionID
		module, ok := modules[id]
		if !ok {
			if fn, err := s.d.Dispatcher.Function(ctx, id); err == nil {
				module = fn.Definition.Module
			}
			modules[id] = module
		}
		nodes[i].Module = module
	}
}

func (s *Service) rootNodes(ctx context.Context, callID string) ([]lineage.Node, error) {
	nodes, err := s.d.Records.CallNodes(ctx, callID, lineage.MaxNodes)
	if err != nil || len(nodes) > 0 {
		return nodes, err
	}
	s.mu.Lock()
	nodes = s.traces.Nodes(callID)
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
		nodes = append(nodes, lineage.Node{Key: payload.Key{CallID: callID, Index: i}, FunctionID: functionID, FunctionName: fn.Definition.Name})
	}
	return nodes, nil
}

// locate fills in the containers of inputs that run.
func (s *Service) locate(nodes []lineage.Node) {
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

// nodesOf returns nodes of inputs that have not begun.
func nodesOf(fn *function.Function, inputs []Input) []lineage.Node {
	nodes := make([]lineage.Node, len(inputs))
	for i := range inputs {
		nodes[i] = lineage.Node{Key: inputs[i].Key, FunctionID: fn.ID, FunctionName: fullName(&fn.Definition, inputs[i].Method)}
	}
	return nodes
}
