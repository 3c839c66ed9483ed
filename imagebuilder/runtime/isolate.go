package runtime

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/skerry-dev/skerry/internal/netdump"
)

// isolate stops a step from reaching other steps on the same bridge: frames of an isolated port go to the bridge itself alone.
func isolate(path string) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("network namespace %q: %w", path, err)
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("network namespace %q: %w", path, err)
	}
	defer h.Close()
	links, err := netdump.Whole(h.LinkList)
	if err != nil {
		return fmt.Errorf("network namespace %q: %w", path, err)
	}
	for _, l := range links {
		if l.Type() != "veth" {
			continue
		}
		port, err := netlink.LinkByIndex(l.Attrs().ParentIndex)
		if err != nil {
			return fmt.Errorf("bridge port of %q: %w", path, err)
		}
		if port.Attrs().MasterIndex == 0 {
			continue
		}
		if err := netlink.LinkSetIsolated(port, true); err != nil {
			return fmt.Errorf("bridge port %q: %w", port.Attrs().Name, err)
		}
	}
	return nil
}
