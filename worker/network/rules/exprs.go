package rules

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// exprs is a part of a rule: a load, a comparison or what is to be done.
type exprs []expr.Any

// Registers. The first has 16 bytes, which an interface's name fills; endOfInterface is the one after them, for keys that have both.
const (
	firstRegister  = unix.NFT_REG_1
	endOfInterface = unix.NFT_REG32_00 + 4
)

// Offsets in the IPv4 and the TCP or UDP header.
const (
	sourceOffset      = 12
	destinationOffset = 16
	addressLength     = 4
	portOffset        = 2
	portLength        = 2
)

func rule(parts ...exprs) []expr.Any { return join(parts...) }

func join(parts ...exprs) exprs {
	var all exprs
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func meta(key expr.MetaKey) exprs { return exprs{&expr.Meta{Key: key, Register: firstRegister}} }

func equal(data []byte) exprs {
	return exprs{&expr.Cmp{Op: expr.CmpOpEq, Register: firstRegister, Data: data}}
}

func notEqual(data []byte) exprs {
	return exprs{&expr.Cmp{Op: expr.CmpOpNeq, Register: firstRegister, Data: data}}
}

func notIPv4() exprs { return join(meta(expr.MetaKeyNFPROTO), notEqual([]byte{unix.NFPROTO_IPV4})) }

func source(register uint32) exprs {
	return exprs{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: sourceOffset, Len: addressLength}}
}

func destination() exprs {
	return exprs{
		&expr.Payload{DestRegister: firstRegister, Base: expr.PayloadBaseNetworkHeader, Offset: destinationOffset, Len: addressLength},
	}
}

func destinationPort() exprs {
	return exprs{&expr.Payload{DestRegister: firstRegister, Base: expr.PayloadBaseTransportHeader, Offset: portOffset, Len: portLength}}
}

func in(set *nftables.Set) exprs {
	return exprs{&expr.Lookup{SourceRegister: firstRegister, SetName: set.Name, SetID: set.ID}}
}

func notIn(set *nftables.Set) exprs {
	return exprs{&expr.Lookup{SourceRegister: firstRegister, SetName: set.Name, SetID: set.ID, Invert: true}}
}

// lookUp does what the map says for the loaded interface, and goes on if it says nothing.
func lookUp(verdicts *nftables.Set) exprs {
	return exprs{&expr.Lookup{SourceRegister: firstRegister, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: verdicts.Name}}
}

// inside and outside compare the loaded address with a prefix.
func inside(p netip.Prefix) exprs  { return join(masked(p), equal(p.Masked().Addr().AsSlice())) }
func outside(p netip.Prefix) exprs { return join(masked(p), notEqual(p.Masked().Addr().AsSlice())) }

func masked(p netip.Prefix) exprs {
	mask := binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits()))
	return exprs{&expr.Bitwise{
		SourceRegister: firstRegister, DestRegister: firstRegister, Len: addressLength, Mask: mask, Xor: make([]byte, addressLength),
	}}
}

// state holds for packets whose connection is in one of the states.
func state(bits uint32) exprs {
	return exprs{
		&expr.Ct{Key: expr.CtKeySTATE, Register: firstRegister},
		&expr.Bitwise{
			SourceRegister: firstRegister, DestRegister: firstRegister, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: firstRegister, Data: make([]byte, 4)},
	}
}

func verdict(kind expr.VerdictKind) exprs { return exprs{&expr.Verdict{Kind: kind}} }

func jump(to *nftables.Chain) exprs {
	return exprs{&expr.Verdict{Kind: expr.VerdictJump, Chain: to.Name}}
}

func gotoChain(to *nftables.Chain) exprs {
	return exprs{&expr.Verdict{Kind: expr.VerdictGoto, Chain: to.Name}}
}

// over counts the packet's connection under the loaded key and holds if the key has more than limit that are open.
func over(set *nftables.Set, limit uint32) exprs {
	return exprs{&expr.Dynset{
		SrcRegKey: firstRegister, SetName: set.Name, SetID: set.ID, Operation: unix.NFT_DYNSET_OP_ADD,
		Exprs: []expr.Any{&expr.Connlimit{Count: limit, Flags: expr.NFT_CONNLIMIT_F_INV}},
	}}
}

// refuse drops the packet and says so to its sender: a program that tries a closed address fails at once and not by a timeout.
func refuse() exprs {
	return exprs{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}}
}

// ifname is an interface's name as the kernel compares a whole one.
func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// Ports that are the proxy's where limits say so.
const (
	portHTTP = 80
	portTLS  = 443
)

const portDNS = 53

func tcp() exprs { return join(meta(expr.MetaKeyL4PROTO), equal([]byte{unix.IPPROTO_TCP})) }
func udp() exprs { return join(meta(expr.MetaKeyL4PROTO), equal([]byte{unix.IPPROTO_UDP})) }

func port(number uint16) exprs {
	return join(destinationPort(), equal(binary.BigEndian.AppendUint16(nil, number)))
}
