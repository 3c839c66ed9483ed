// Package bridge is the network of build steps: a bridge of its own, whose address is the steps' gateway, with its traffic masqueraded.
// What steps may reach is decided elsewhere, by rules on the bridge's name and subnet; what buildkitd itself may reach by Guard.
package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Config describes a bridge.
type Config struct {
	// Name is the interface's, at most 15 characters.
	Name string
	// Subnet is where steps get their addresses; its first address is the bridge's own.
	Subnet netip.Prefix
	// Table is the name of the nftables table that masquerades; empty: none, somebody else does.
	Table string
}

// Gateway is the bridge's address.
func (c Config) Gateway() netip.Addr { return c.Subnet.Masked().Addr().Next() }

// Up makes the bridge with its address, and the table. What is there already is kept. Needs root.
func Up(c Config) error {
	link, err := c.ensure()
	if err != nil {
		return fmt.Errorf("bridge %q: %w", c.Name, err)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: c.Gateway().AsSlice(), Mask: net.CIDRMask(c.Subnet.Bits(), c.Subnet.Addr().BitLen())}}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("bridge %q: address %s: %w", c.Name, addr.IPNet, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bridge %q: %w", c.Name, err)
	}
	if c.Table == "" {
		return nil
	}
	if err := c.masquerade(); err != nil {
		return fmt.Errorf("bridge %q: table %q: %w", c.Name, c.Table, err)
	}
	return nil
}

func (c Config) ensure() (netlink.Link, error) {
	link, err := netlink.LinkByName(c.Name)
	if err == nil {
		if link.Type() != "bridge" {
			return nil, errors.New("an interface of that name is no bridge; choose another name")
		}
		return link, nil
	}
	if !errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = c.Name
	br := &netlink.Bridge{LinkAttrs: attrs}
	return br, netlink.LinkAdd(br)
}

// masquerade replaces the table: what leaves the subnet takes the host's address.
func (c Config) masquerade() error {
	n, err := nftables.New()
	if err != nil {
		return err
	}
	t := n.AddTable(&nftables.Table{Name: c.Table, Family: nftables.TableFamilyIPv4})
	n.FlushTable(t)
	chain := n.AddChain(&nftables.Chain{
		Name: "postrouting", Table: t, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting,
		Priority: nftables.ChainPriorityNATSource,
	})
	n.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append(append(
		c.inSubnet(12, expr.CmpOpEq), c.inSubnet(16, expr.CmpOpNeq)...), &expr.Masq{})})
	return n.Flush()
}

// inSubnet compares the address at an offset of the IPv4 header with the subnet.
func (c Config) inSubnet(offset uint32, op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.CIDRMask(c.Subnet.Bits(), 32), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: 1, Data: c.Subnet.Masked().Addr().AsSlice()},
	}
}

// Down removes the bridge and the table. What is not there is no error.
func Down(c Config) error {
	var errs []error
	if c.Table != "" {
		errs = append(errs, c.dropTable())
	}
	link, err := netlink.LinkByName(c.Name)
	switch {
	case errors.As(err, &netlink.LinkNotFoundError{}):
	case err != nil:
		errs = append(errs, err)
	default:
		errs = append(errs, netlink.LinkDel(link))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("bridge %q: %w", c.Name, err)
	}
	return nil
}

func (c Config) dropTable() error {
	n, err := nftables.New()
	if err != nil {
		return err
	}
	n.DelTable(&nftables.Table{Name: c.Table, Family: nftables.TableFamilyIPv4})
	if err := n.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("table %q: %w", c.Table, err)
	}
	return nil
}

// CNI returns the network's configuration for CNI: addresses are kept in the folder dataDir, nothing outside it is touched.
func CNI(c Config, dataDir string) ([]byte, error) {
	type object = map[string]any
	return json.MarshalIndent(object{
		"cniVersion": "1.0.0",
		"name":       c.Name,
		"plugins": []object{{
			"type": "bridge", "bridge": c.Name, "isDefaultGateway": true, "ipMasq": false,
			"ipam": object{"type": "host-local", "dataDir": dataDir, "ranges": [][]object{{{"subnet": c.Subnet.String()}}}},
		}},
	}, "", "  ")
}
