package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/worker/network/rules"
)

// removals gathers endpoints that are to be removed at the same time. The kernel takes some 40 ms for one, most of it waiting for its
// other processors, and hardly more for a hundred at once; so whoever comes while a batch is on its way goes with the next.
type removals struct {
	mu      sync.Mutex
	waiting []*removal

	turn sync.Mutex // held by whoever removes a batch
}

type removal struct {
	endpoint *endpoint
	done     bool // by somebody else's batch
	err      error
}

// remove removes an endpoint, or what there is of it.
func (h *host) remove(e *endpoint) error {
	own := &removal{endpoint: e}
	h.removals.mu.Lock()
	h.removals.waiting = append(h.removals.waiting, own)
	h.removals.mu.Unlock()

	h.removals.turn.Lock()
	defer h.removals.turn.Unlock()
	if own.done {
		return own.err
	}
	h.removals.mu.Lock()
	batch := h.removals.waiting
	h.removals.waiting = nil
	h.removals.mu.Unlock()
	h.removeBatch(batch)
	return own.err
}

// removeBatch removes endpoints, interfaces first. What fails for all of them is each one's error.
func (h *host) removeBatch(batch []*removal) {
	var links []int
	var sources []rules.Source
	for _, r := range batch {
		if r.endpoint.index != 0 {
			links = append(links, r.endpoint.index)
		}
		if r.endpoint.admitted {
			sources = append(sources, r.endpoint.source())
		}
	}
	common := removeLinks(h.cfg.Instance, links)
	if len(sources) > 0 {
		common = errors.Join(common, h.table.Remove(sources))
	}
	for _, r := range batch {
		r.done = true
		r.err = errors.Join(common, removeNamespace(r.endpoint.netns))
	}
}

// removeLinks removes interfaces of the host by their indices, with one request. One that is gone is no error.
func removeLinks(instance string, links []int) error {
	if len(links) == 0 {
		return nil
	}
	group, err := doomedGroup(instance)
	if err != nil {
		return err
	}
	marked := 0
	for _, index := range links {
		link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: index, Name: "#" + strconv.Itoa(index)}}
		err := netlink.LinkSetGroup(link, int(group))
		switch {
		case err == nil:
			marked++
		case !errors.Is(err, unix.ENODEV):
			return fmt.Errorf("remove interface %s: %w", link.Name, err)
		}
	}
	if marked == 0 {
		return nil
	}
	request := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_GROUP, binary.NativeEndian.AppendUint32(nil, group)))
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove %d interfaces: %w", marked, err)
	}
	return nil
}

// doomedGroup is the number of the group that interfaces are put in to be removed. It has the instance in it: groups are the host's.
func doomedGroup(instance string) (uint32, error) {
	const family = 0x5b000000 // far from the small numbers that people use
	number, err := strconv.ParseUint(instance, 16, 24)
	if err != nil {
		return 0, fmt.Errorf("network instance %q: %w", instance, err)
	}
	return family | uint32(number), nil
}
