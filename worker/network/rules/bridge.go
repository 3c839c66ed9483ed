package rules

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// isolatePriority is that of the filter hook of bridges.
const isolatePriority = -200

// isolate installs the bridge table, by which builds, which are ports of one bridge, can't send to one another. The host's end is no port,
// so the way out is not concerned.
func isolate(cfg Config) error {
	err := installBridge(cfg, []exprs{join(meta(expr.MetaKeyBRIIIFNAME), equal(ifname(cfg.BuildBridge)))})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) {
		// Kernels without NFT_BRIDGE_META can't tell bridges apart; the subnet can.
		err = installBridge(cfg, bySubnet(cfg))
	}
	if err != nil {
		return fmt.Errorf("install nftables table %q for bridge %q: %w", cfg.Table, cfg.BuildBridge, err)
	}
	return nil
}

func installBridge(cfg Config, matches []exprs) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	table := replaceTable(conn, cfg.Table, nftables.TableFamilyBridge)
	chain := conn.AddChain(&nftables.Chain{
		Name: "forward", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityRef(isolatePriority),
	})
	for _, m := range matches {
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rule(m, verdict(expr.VerdictDrop))})
	}
	return conn.Flush()
}

// bySubnet matches IPv4 and ARP frames that come from a build's address or are for one.
func bySubnet(cfg Config) []exprs {
	const arpSourceOffset, arpTargetOffset = 14, 24
	var matches []exprs
	for ethertype, offsets := range map[uint16][]uint32{
		unix.ETH_P_IP: {sourceOffset, destinationOffset}, unix.ETH_P_ARP: {arpSourceOffset, arpTargetOffset},
	} {
		for _, offset := range offsets {
			matches = append(matches, join(
				meta(expr.MetaKeyPROTOCOL), equal(binary.BigEndian.AppendUint16(nil, ethertype)),
				exprs{&expr.Payload{DestRegister: firstRegister, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: addressLength}},
				inside(cfg.BuildSubnet)))
		}
	}
	return matches
}
