package lineage

import (
	"slices"

	"github.com/skerry-dev/skerry/internal/payload"
)

// Memory remembers SYNC calls that inputs have made, the last MaxTraced inputs of them. It is not safe for concurrent use.
type Memory struct {
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

// NewMemory returns an empty memory.
func NewMemory() *Memory { return &Memory{calls: map[string]*trace{}, made: map[string][]string{}} }

// Begin notes inputs of a call that an input made. Of very many only the first are.
func (t *Memory) Begin(callID, parent string, inputs []Node) {
	c, ok := t.calls[callID]
	if !ok {
		c = &trace{parent: parent, place: map[uint32]int{}}
		t.calls[callID] = c
		t.made[ParentCall(c.parent)] = append(t.made[ParentCall(c.parent)], callID)
		t.order = append(t.order, callID)
	}
	for i := range inputs {
		if len(c.inputs) == MaxNodes {
			break
		}
		n := inputs[i]
		n.ParentInputID = c.parent
		c.place[n.Key.Index] = len(c.inputs)
		c.inputs = append(c.inputs, n)
		t.inputs++
	}
	for t.inputs > MaxTraced {
		t.forget(t.order[0])
	}
}

func (t *Memory) forget(callID string) {
	c := t.calls[callID]
	parent := ParentCall(c.parent)
	delete(t.calls, callID)
	t.order = t.order[1:]
	t.inputs -= len(c.inputs)
	siblings := t.made[parent]
	if i := slices.Index(siblings, callID); i >= 0 {
		siblings = slices.Delete(siblings, i, i+1)
	}
	if t.made[parent] = siblings; len(siblings) == 0 {
		delete(t.made, parent)
	}
}

// Finish notes how an input ended, and in which container.
func (t *Memory) Finish(k payload.Key, status payload.Status, containerID string) {
	c, ok := t.calls[k.CallID]
	if !ok {
		return
	}
	if i, ok := c.place[k.Index]; ok {
		n := &c.inputs[i]
		n.Finished, n.Status, n.ContainerID = true, status, containerID
		delete(c.place, k.Index)
	}
}

// Nodes returns the inputs that are remembered of a call.
func (t *Memory) Nodes(callID string) []Node {
	if c, ok := t.calls[callID]; ok {
		return slices.Clone(c.inputs)
	}
	return nil
}

// Children returns the inputs of the calls that inputs of a call made.
func (t *Memory) Children(callID string) []Node {
	var nodes []Node
	for _, id := range t.made[callID] {
		nodes = append(nodes, t.Nodes(id)...)
	}
	return nodes
}

// Len is how many inputs are remembered.
func (t *Memory) Len() int { return t.inputs }
