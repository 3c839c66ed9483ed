// Package lineage is the noun of which input made which call: ids of inputs, the nodes of a graph of calls, and the memory of those that are
// recorded nowhere else.
package lineage

import (
	"strconv"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Bounds of graphs.
const (
	// MaxNodes is how many inputs a graph has at most.
	MaxNodes = 10_000
	// MaxTraced is how many inputs of SYNC calls made by other inputs are remembered, over all calls; the oldest calls are forgotten.
	MaxTraced = 50_000
)

// Node is an input in a graph of calls.
type Node struct {
	Key           payload.Key
	ParentInputID string // empty: a client outside made the call
	FunctionID    string
	FunctionName  string // with the method's behind a dot where it is a class
	Module        string // of the function; empty: it was sent by value, or is not known
	ContainerID   string // empty: none yet, or not known
	Status        payload.Status
	Finished      bool // else Status means nothing
}

// InputID is how users see an input: "in-", the call's characters, "-" and the index.
func InputID(k payload.Key) string {
	return "in-" + strings.TrimPrefix(k.CallID, string(ident.Call)+"-") + "-" + strconv.FormatUint(uint64(k.Index), 10)
}

// ParseInputID reads what InputID has written. Errors: fault.Invalid.
func ParseInputID(id string) (payload.Key, error) {
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
	k, err := ParseInputID(inputID)
	if err != nil {
		return ""
	}
	return k.CallID
}
