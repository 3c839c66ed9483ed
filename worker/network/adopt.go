package network

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network/policy"
	"github.com/skerry-dev/skerry/worker/network/rules"
)

// Kept is an endpoint of an earlier process of the instance that is to go on.
type Kept struct {
	Endpoint    container.Endpoint // as it was handed out
	ContainerID string             // for errors
	Policy      policy.Policy      // the last one that was set
}

// Adoption is what became of one Kept.
type Adoption struct {
	Endpoint *container.Endpoint // as if it came from Acquire; nil with Err
	// Err says why it could not be taken over: fault.Precondition if the network has begun to run, fault.NotFound if it is not there any
	// more, as after the host's restart, fault.Invalid if it can't be one of this network's, as after a change of the range, or if its
	// policy is not valid.
	Err error
}

// Adopt takes over endpoints; it must be called before Run, which removes all others. What runs in them notices nothing: interfaces,
// addresses and namespaces stay as they are, and Run replaces the rules in one transaction. The name server is at the same address again
// once Run listens. Secrets are not in records: until SetPolicy brings their values, requests to the hosts that they name are refused.
func (n *Network) Adopt(kept []Kept) []Adoption {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]Adoption, len(kept))
	for i, k := range kept {
		e, err := n.adopt(k)
		if err != nil {
			out[i].Err = fmt.Errorf("network of container %q: %w", k.ContainerID, err)
			continue
		}
		out[i].Endpoint = n.public(e)
	}
	return out
}

// adopt takes one over; n.mu is held.
func (n *Network) adopt(k Kept) (*endpoint, error) {
	if n.host != nil {
		return nil, fault.New(fault.Precondition, "the network runs already")
	}
	p, err := k.Policy.Normal()
	if err != nil {
		return nil, err
	}
	e, err := n.recognise(k.Endpoint)
	if err != nil {
		return nil, err
	}
	if n.taken[e.netns] != nil {
		return nil, fault.New(fault.Exists, "namespace %s: adopted already", e.netns)
	}
	mounts, err := mountsUnder(e.netns)
	if err != nil {
		return nil, err
	}
	if len(mounts) == 0 {
		return nil, fault.New(fault.NotFound, "namespace %s: nothing is mounted there", e.netns)
	}
	if e.iface != "" {
		link, err := netlink.LinkByName(e.iface)
		if err != nil {
			return nil, fault.New(fault.NotFound, "interface %s: %v", e.iface, err)
		}
		e.index, e.admitted = link.Attrs().Index, true
		n.addresses.reserve(e.slot)
	}
	e.policy = p
	n.take(e)
	if e.address.IsValid() {
		n.proxy.SetPolicy(e.address, p)
	}
	return e, nil
}

// recognise returns what an endpoint has on the host by its names. They come from a record on a disk, and what they name will be removed
// one day: so they have to be names that this network would give.
func (n *Network) recognise(at container.Endpoint) (*endpoint, error) {
	number, ok := strings.CutPrefix(filepath.Base(at.NetnsPath), netnsPrefix(n.cfg.Instance))
	if !ok || filepath.Clean(at.NetnsPath) != at.NetnsPath || filepath.Dir(at.NetnsPath) != filepath.Clean(n.cfg.RunDir) {
		return nil, fault.New(fault.Invalid, "namespace %q: not one of the folder %s", at.NetnsPath, n.cfg.RunDir)
	}
	if at.Address == "" && at.Interface == "" {
		if _, err := blockedNumber(number); err != nil {
			return nil, fault.New(fault.Invalid, "namespace %q: not that of a blocked endpoint", at.NetnsPath)
		}
		return &endpoint{netns: at.NetnsPath}, nil
	}
	address, err := netip.ParseAddr(at.Address)
	if err != nil {
		return nil, fault.New(fault.Invalid, "address %q: %v", at.Address, err)
	}
	slot, ok := n.addresses.slotOf(address)
	if !ok {
		return nil, fault.New(fault.Invalid, "address %s: not a container's in the range %s", address, n.cfg.CIDR)
	}
	want := strconv.FormatUint(uint64(slot), 10)
	if number != want || at.Interface != vethPrefix(n.cfg.Instance)+want {
		return nil, fault.New(fault.Invalid, "namespace %q and interface %q: not those of address %s", at.NetnsPath, at.Interface, address)
	}
	return &endpoint{netns: at.NetnsPath, slot: slot, address: address, iface: at.Interface}, nil
}

// Leave says that Close is to leave an endpoint to the next process. Release takes that back.
func (n *Network) Leave(e *container.Endpoint) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if own := n.taken[e.NetnsPath]; own != nil {
		n.left[e.NetnsPath] = own
	}
}

func blockedNumber(name string) (uint64, error) {
	digits, ok := strings.CutPrefix(name, blockedMark)
	if !ok {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseUint(digits, 10, 64)
}

// lastBlocked is the highest number of blocked endpoints.
func (all endpoints) lastBlocked(instance string) uint64 {
	var last uint64
	for path := range all {
		number, err := blockedNumber(strings.TrimPrefix(filepath.Base(path), netnsPrefix(instance)))
		if err == nil {
			last = max(last, number)
		}
	}
	return last
}

// keptLimits returns the rules of endpoints that go on. The addresses that they have learned are the kernel's to tell, and connections to
// those that they had learned go on.
func keptLimits(table string, keep endpoints) (map[rules.Source]rules.Limits, error) {
	if len(keep) == 0 {
		return nil, nil //nolint:nilnil // no endpoints
	}
	learned, err := rules.Remembered(table)
	if err != nil {
		return nil, err
	}
	limits := map[rules.Source]rules.Limits{}
	for _, e := range keep {
		if !e.admitted {
			continue
		}
		l := limitsOf(e.policy)
		l.Settled = true
		if l.Learns {
			l.Known = learned[e.iface]
		}
		limits[e.source()] = l
	}
	return limits, nil
}
