package bridge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/ranges"
)

// Guard is what keeps buildkitd, which fetches in the host's network what recipes name (images, sources of Dockerfiles' ADD), to the
// public internet: nftables rules on what its processes send, which the kernel knows by their version 2 control group.
type Guard struct {
	// Name is that of the nftables table and of the control group.
	Name string
	// Open are private ranges that may be reached all the same.
	Open []netip.Prefix
	// Allowed are single places that may be reached wherever they are: mirrors and proxies of the operator's.
	Allowed []netip.AddrPort
}

// ErrNoGuard says that this host has no version 2 control groups, by which the kernel could tell processes apart.
var ErrNoGuard = errors.New("no version 2 control groups are mounted")

// guardRoots are where version 2 control groups are, alone or beside version 1.
var guardRoots = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

func (g Guard) folder() (string, error) {
	for _, root := range guardRoots {
		var st unix.Statfs_t
		if err := unix.Statfs(root, &st); err == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return filepath.Join(root, g.Name), nil
		}
	}
	return "", ErrNoGuard
}

// Up makes the control group and the rules, in place of those that are left, and returns the group for Start. Errors: ErrNoGuard.
func (g Guard) Up() (*os.File, error) {
	dir, err := g.folder()
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) { //nolint:gosec // as the kernel makes the others
		return nil, fmt.Errorf("guard %q: %w", g.Name, err)
	}
	group, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("guard %q: %w", g.Name, err)
	}
	info, err := group.Stat()
	if err != nil {
		return nil, errors.Join(err, group.Close())
	}
	if err := g.install(info.Sys().(*syscall.Stat_t).Ino); err != nil { //nolint:forcetypeassert // on Linux it is
		return nil, errors.Join(fmt.Errorf("guard %q: %w", g.Name, err), group.Close())
	}
	return group, nil
}

// Down removes the rules and the group, in which nothing runs any more. What is not there is no error.
func (g Guard) Down() error {
	dir, err := g.folder()
	if errors.Is(err, ErrNoGuard) {
		return nil
	}
	n, err := nftables.New()
	if err != nil {
		return err
	}
	n.DelTable(&nftables.Table{Name: g.Name, Family: nftables.TableFamilyINet})
	if err := n.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("guard %q: %w", g.Name, err)
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("guard %q: %w", g.Name, err)
	}
	return nil
}

// Registers: a group's number and an IPv6 address fit in the first.
const guardRegister = unix.NFT_REG_1

// Offsets of destination addresses in headers, and of the port.
const (
	destination4, destination6 = 16, 24
	guardPriority              = -10
	dnsPort                    = 53
)

// install replaces the table. A group's number is its folder's inode.
func (g Guard) install(group uint64) error {
	n, err := nftables.New()
	if err != nil {
		return err
	}
	t := &nftables.Table{Name: g.Name, Family: nftables.TableFamilyINet}
	n.AddTable(t)
	n.DelTable(t)
	n.AddTable(t)
	output := n.AddChain(&nftables.Chain{
		Name: "output", Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput,
		Priority: nftables.ChainPriorityRef(guardPriority),
	})
	chain := n.AddChain(&nftables.Chain{Name: "fetch", Table: t})
	// A packet without a socket, such as the kernel's own refusals, doesn't match, nor does one of another group.
	n.AddRule(&nftables.Rule{Table: t, Chain: output, Exprs: []expr.Any{
		&expr.Socket{Key: expr.SocketKeyCgroupv2, Level: 1, Register: guardRegister},
		&expr.Cmp{Op: expr.CmpOpEq, Register: guardRegister, Data: binaryutil.NativeEndian.PutUint64(group)},
		&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain.Name},
	}})
	accept, refuse := &expr.Verdict{Kind: expr.VerdictAccept}, refusals(n, t)
	rule := func(end expr.Any, match ...[]expr.Any) {
		n.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append(slices.Concat(match...), end)})
	}
	rule(accept, []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: guardRegister},
		&expr.Bitwise{
			SourceRegister: guardRegister, DestRegister: guardRegister, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED), Xor: make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: guardRegister, Data: make([]byte, 4)},
	})
	rule(accept, port(unix.IPPROTO_UDP, dnsPort))
	rule(accept, port(unix.IPPROTO_TCP, dnsPort))
	for _, a := range g.Allowed {
		addr := a.Addr().Unmap()
		rule(accept, to(netip.PrefixFrom(addr, addr.BitLen())), port(unix.IPPROTO_TCP, a.Port()))
	}
	for _, p := range g.Open {
		rule(accept, to(p))
	}
	for _, p := range slices.Concat(ranges.Private(), ranges.Never(), ranges.Private6()) {
		rule(refuse, to(p))
	}
	return n.Flush()
}

// refusals adds the chain that tells a sender at once, and returns the way there: a connecting program doesn't end by an ICMP message.
func refusals(n *nftables.Conn, t *nftables.Table) expr.Any {
	chain := n.AddChain(&nftables.Chain{Name: "refuse", Table: t})
	n.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: guardRegister},
		&expr.Cmp{Op: expr.CmpOpEq, Register: guardRegister, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Reject{Type: unix.NFT_REJECT_TCP_RST},
	}})
	n.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
		&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED},
	}})
	return &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain.Name}
}

// to matches packets for a range.
func to(p netip.Prefix) []expr.Any {
	family, offset, size := byte(unix.NFPROTO_IPV4), uint32(destination4), uint32(4)
	if p.Addr().Is6() {
		family, offset, size = unix.NFPROTO_IPV6, destination6, 16
	}
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: guardRegister},
		&expr.Cmp{Op: expr.CmpOpEq, Register: guardRegister, Data: []byte{family}},
		&expr.Payload{DestRegister: guardRegister, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: guardRegister, DestRegister: guardRegister, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: guardRegister, Data: p.Masked().Addr().AsSlice()},
	}
}

// port matches packets of a protocol for a port.
func port(protocol byte, number uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: guardRegister},
		&expr.Cmp{Op: expr.CmpOpEq, Register: guardRegister, Data: []byte{protocol}},
		&expr.Payload{DestRegister: guardRegister, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: guardRegister, Data: binary.BigEndian.AppendUint16(nil, number)},
	}
}
