package network

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/worker/network/policy"
	"github.com/skerry-dev/skerry/worker/network/rules"
)

// TestManyEndpoints takes over as many endpoints as a large host has, most of them with limits and some with long lists, and puts them back
// once somebody has removed them.
func TestManyEndpoints(t *testing.T) {
	newWorld(t)
	cfg := testConfig(t.TempDir())
	a := newAddresses(cfg.CIDR)
	t.Cleanup(func() {
		if err := rules.Delete(tableName(instance)); err != nil {
			t.Error(err)
		}
	})
	all := map[rules.Source]rules.Limits{}
	for slot := uint32(1); slot <= 2000; slot++ {
		p := policy.Policy{}
		switch {
		case slot%100 == 0:
			for i := range policy.MaxCIDRs {
				p.CIDRs = append(p.CIDRs, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 7), byte(i << 1)}), 32)) //nolint:gosec // the address' bytes
			}
		case slot%3 > 0:
			p = policy.Policy{CIDRs: prefixes("198.51.100.0/24", "203.0.113.0/24"), Domains: []string{"api.test"}}
		}
		l := limitsOf(p)
		if l.Learns {
			for i := range 20 {
				l.Known = append(l.Known, rules.Learned{Addr: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), TTL: time.Hour})
			}
		}
		all[rules.Source{Interface: fmt.Sprintf("%s%d", vethPrefix(instance), slot), Address: a.containerEnd(slot)}] = l
	}
	for _, name := range []string{"", "_b", ""} {
		began := time.Now()
		table, err := rules.Install(ruleConfig(cfg, a), all)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d endpoints in %s", len(all), time.Since(began))
		if err := table.Close(); err != nil {
			t.Error(err)
		}
		tables := run(t, "nft", "list", "tables", "inet")
		if got := strings.Fields(tables); len(got) != 3 || got[2] != tableName(instance)+name {
			t.Errorf("tables %q", tables)
		}
		chains := strings.Count(run(t, "nft", "list", "chains", "inet"), "chain forward_")
		if limited := 2000 - 2000/3 + 2000/300; chains != limited {
			t.Errorf("%d chains, want %d", chains, limited)
		}
	}
}
