package network

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/ranges"
	"github.com/skerry-dev/skerry/worker/network/rules"
)

// Check is one requirement on the host.
type Check struct {
	Name   string // what is needed
	OK     bool
	Detail string // what was found
	Fix    string // what to do; empty if OK
}

// Doctor checks what a network of the instance needs of the host, without changing it: what has to be tried is tried in a namespace that
// ends with the check.
func Doctor(instance string) []Check {
	checks := []Check{kernelCheck(), forwardingCheck()}
	return append(checks, firewallChecks(instance)...)
}

// kernelCheck makes one of everything in a namespace of its own.
func kernelCheck() Check {
	c := Check{Name: "network namespaces, veth, bridge, nftables"}
	dir, err := os.MkdirTemp("", "skerry-doctor-")
	if err != nil {
		c.Detail, c.Fix = err.Error(), "make the folder for temporary files writable"
		return c
	}
	path := filepath.Join(dir, "netns")
	err = makeNamespace(path, tryKernel)
	err = errors.Join(err, removeNamespace(path), os.Remove(dir))
	if err != nil {
		c.Detail = err.Error()
		c.Fix = "run as root, on a kernel with network namespaces and the modules veth, bridge, nf_tables, nft_nat, nft_ct, nft_reject_inet and nf_conntrack_netlink"
		return c
	}
	c.OK, c.Detail = true, "can be made"
	return c
}

func tryKernel() error {
	here, err := netns.Get()
	if err != nil {
		return err
	}
	defer here.Close() //nolint:errcheck // only read
	const instance = "000000"
	a := newAddresses(candidates[0])
	cfg := Config{Instance: instance, CIDR: candidates[0], BuildBridge: "br0", BuildSubnet: candidates[1]}
	return withLinks(func(links *netlink.Handle) error {
		h := &host{cfg: cfg, addresses: a, links: links, namespace: here}
		if err := h.addForwarder(); err != nil {
			return err
		}
		veth := netlink.NewVeth(netlink.LinkAttrs{Name: "veth0"})
		veth.PeerName = "veth1"
		if err := links.LinkAdd(veth); err != nil {
			return fmt.Errorf("add a veth pair: %w", err)
		}
		some := rules.Source{Interface: vethPrefix(instance) + "1", Address: a.containerEnd(1)}
		limits := rules.Limits{Listed: true, Ranges: ranges.Private(), Learns: true, Web: true, TLS: true}
		table, err := rules.Install(ruleConfig(cfg, a), map[rules.Source]rules.Limits{some: limits})
		if err != nil {
			return err
		}
		return errors.Join(h.cut(some.Address, limits), table.Close())
	})
}

func forwardingCheck() Check {
	c := Check{Name: "IP forwarding"}
	on, err := forwarding()
	switch {
	case err != nil:
		c.Detail, c.Fix = err.Error(), "mount /proc with its sysctl tree"
	case on:
		c.OK, c.Detail = true, "on"
	case unix.Access(forwardingSysctl, unix.W_OK) != nil:
		c.Detail, c.Fix = "off, and can't be turned on from here", "run: sysctl -w net.ipv4.ip_forward=1"
	default:
		c.OK, c.Detail = true, "off; a worker turns it on when it starts"
	}
	return c
}

// firewallChecks looks for chains of others that drop what our rules let through. iptables' own chains are not among them once a network
// runs, since its rules make way there.
func firewallChecks(instance string) []Check {
	const name = "host firewall"
	found, err := rules.Obstacles(tableName(instance))
	if err != nil {
		return []Check{{Name: name, Detail: err.Error(), Fix: "run as root, on a kernel with nf_tables"}}
	}
	var checks []Check
	for _, o := range found {
		if o.Shared {
			continue
		}
		c := Check{Name: name, Detail: fmt.Sprintf("nftables chain %q of table %q drops by policy, containers' packets included", o.Chain, o.Table)}
		c.Fix = fmt.Sprintf("run: nft insert rule %s %s %s iifname \"%s*\" accept", o.Family, o.Table, o.Chain, vethPrefix(instance))
		if o.Forward {
			c.Fix += fmt.Sprintf("; nft insert rule %s %s %s oifname \"%s*\" accept", o.Family, o.Table, o.Chain, vethPrefix(instance))
		}
		checks = append(checks, c)
	}
	if len(checks) == 0 {
		checks = append(checks, Check{Name: name, OK: true, Detail: "nothing in the way of containers"})
	}
	return checks
}
