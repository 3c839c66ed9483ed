package rules

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Limits bound one endpoint further than the rules for all do. The zero value doesn't.
//
// A limited endpoint has a chain of its own, which the map "limits" leads its packets to before all others; everything that it lets through
// goes on to the rules for all. The chain is made anew for each change and takes the old one's place in one transaction. What it does not
// let through it refuses whether the connection is new or not.
type Limits struct {
	// Closed refuses everything, DNS included.
	Closed bool
	// Listed refuses what is neither in Ranges nor learned.
	Listed bool
	// Ranges are IPv4 ranges that are open.
	Ranges []netip.Prefix
	// Learns opens addresses that Learn names, but for the ports of HTTP and TLS, and connections that were open when they were forgotten.
	Learns bool
	// Web sends TCP connections to port 80 to the proxy, TLS those to port 443 and refuses UDP there; neither concerns addresses in Ranges.
	Web, TLS bool
	// AllTLS is TLS for addresses in Ranges too.
	AllTLS bool
	// Known are addresses that are learned from the beginning.
	Known []Learned
	// Settled lets connections to addresses that were learned once and are forgotten go on; see Settle.
	Settled bool
}

// Limited says whether there is any.
func (l Limits) Limited() bool {
	return l.Closed || l.Listed || l.Web || l.TLS || l.AllTLS
}

// member is an endpoint in the table.
type member struct {
	limits  Limits
	number  uint64                   // in the names of its chains and sets
	learned map[netip.Addr]time.Time // until when
}

// name is that of one of its chains or sets.
func (m *member) name(kind string, s Source) string {
	return fmt.Sprintf("%s_%s_%d", kind, s.Interface, m.number)
}

// addLimits queues the chains and sets of a limited endpoint, and that its packets go there.
func (b *builder) addLimits(s Source, m *member, now time.Time) error {
	l := m.limits
	ranges, err := rangeSet(b.conn, b.table, m.name("ranges", s), l.Ranges)
	if err != nil {
		return err
	}
	learned := &nftables.Set{Table: b.table, Name: m.name(learnedPrefix, s), KeyType: nftables.TypeIPAddr, HasTimeout: true, Size: 2 * MaxLearned}
	if err := b.conn.AddSet(learned, learnedElements(m.known(now))); err != nil {
		return fmt.Errorf("nftables set %s: %w", learned.Name, err)
	}
	forward := b.conn.AddChain(&nftables.Chain{Name: m.name("forward", s), Table: b.table})
	b.limitForward(forward, l, ranges, learned)
	if err := b.lead(mapLimits, s, forward); err != nil {
		return err
	}
	if l.Closed {
		return b.conn.SetAddElements(b.set(setClosed), interfaceElement(s))
	}
	if !l.Web && !l.TLS && !l.AllTLS {
		return nil
	}
	if err := b.conn.SetAddElements(b.set(setProxied), interfaceElement(s)); err != nil {
		return err
	}
	divert := b.conn.AddChain(&nftables.Chain{Name: m.name("divert", s), Table: b.table})
	b.limitDivert(divert, l, ranges)
	return b.lead(mapDiversions, s, divert)
}

// limitForward decides about the packets that a limited endpoint sends out.
func (b *builder) limitForward(chain *nftables.Chain, l Limits, ranges, learned *nftables.Set) {
	onward := gotoChain(&nftables.Chain{Name: egressChain})
	tls := func() {
		b.refuse(chain, tcp(), port(portTLS))
		b.refuse(chain, udp(), port(portTLS))
	}
	if l.Closed {
		b.refuse(chain)
		return
	}
	if l.AllTLS {
		tls()
	}
	if len(l.Ranges) > 0 {
		b.rule(chain, destination(), in(ranges), onward)
	}
	if l.TLS {
		tls()
	}
	if l.Web {
		b.refuse(chain, tcp(), port(portHTTP))
	}
	if l.Learns {
		b.rule(chain, destination(), in(learned), onward)
		if l.Settled {
			b.rule(chain, state(expr.CtStateBitESTABLISHED), onward)
		}
	}
	if l.Listed {
		b.refuse(chain)
		return
	}
	b.rule(chain, onward)
}

// limitDivert sends new connections to the proxy.
func (b *builder) limitDivert(chain *nftables.Chain, l Limits, ranges *nftables.Set) {
	if l.AllTLS {
		b.rule(chain, tcp(), port(portTLS), b.toProxy(b.cfg.ProxyTLS))
	}
	if len(l.Ranges) > 0 {
		b.rule(chain, destination(), in(ranges), verdict(expr.VerdictReturn))
	}
	if l.TLS {
		b.rule(chain, tcp(), port(portTLS), b.toProxy(b.cfg.ProxyTLS))
	}
	if l.Web {
		b.rule(chain, tcp(), port(portHTTP), b.toProxy(b.cfg.ProxyHTTP))
	}
}

// removeLimits queues the removal of what addLimits made.
func (b *builder) removeLimits(s Source, m *member) error {
	l := m.limits
	if err := b.conn.SetDeleteElements(b.set(mapLimits), interfaceElement(s)); err != nil {
		return err
	}
	chains := []string{"forward"}
	switch {
	case l.Closed:
		if err := b.conn.SetDeleteElements(b.set(setClosed), interfaceElement(s)); err != nil {
			return err
		}
	case l.Web || l.TLS || l.AllTLS:
		for _, set := range []string{setProxied, mapDiversions} {
			if err := b.conn.SetDeleteElements(b.set(set), interfaceElement(s)); err != nil {
				return err
			}
		}
		chains = append(chains, "divert")
	}
	for _, kind := range chains {
		b.conn.DelChain(&nftables.Chain{Name: m.name(kind, s), Table: b.table})
	}
	for _, kind := range []string{"ranges", learnedPrefix} {
		b.conn.DelSet(&nftables.Set{Name: m.name(kind, s), Table: b.table})
	}
	return nil
}

// lead queues that packets from an endpoint's interface go to a chain.
func (b *builder) lead(name string, s Source, chain *nftables.Chain) error {
	element := interfaceElement(s)
	element[0].VerdictData = &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain.Name}
	return b.conn.SetAddElements(b.set(name), element)
}

func interfaceElement(s Source) []nftables.SetElement {
	return []nftables.SetElement{{Key: ifname(s.Interface)}}
}

// Limit replaces an endpoint's limits, what it has learned included, in one transaction. Errors: fault.NotFound if it was not added.
func (t *Table) Limit(s Source, l Limits) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.members[s]
	if old == nil {
		return fault.New(fault.NotFound, "nftables: no endpoint %s at %s", s.Address, s.Interface)
	}
	return t.replace(s, old, t.newMember(l))
}

// Settle lets an endpoint's open connections go on after the address they are to is forgotten. Until then each of their packets is
// checked, so that those which earlier limits let through and the new ones don't can be cut in between.
func (t *Table) Settle(s Source) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.members[s]
	if old == nil || !old.limits.Learns || old.limits.Settled {
		return nil
	}
	l := old.limits
	l.Settled, l.Known = true, old.known(time.Now())
	return t.replace(s, old, t.newMember(l))
}

// replace puts a member in another's place; t.mu is held.
func (t *Table) replace(s Source, old, fresh *member) error {
	err := t.commit(func(b *builder) error {
		if old.limits.Limited() {
			if err := b.removeLimits(s, old); err != nil {
				return err
			}
		}
		if !fresh.limits.Limited() {
			return nil
		}
		return b.addLimits(s, fresh, time.Now())
	})
	if err != nil {
		return fmt.Errorf("nftables: limits of %s at %s: %w", s.Address, s.Interface, err)
	}
	t.members[s] = fresh
	return nil
}

// refuse queues that what matches is refused; TCP in a way that ends the connection at once, an open one too.
func (b *builder) refuse(chain *nftables.Chain, match ...exprs) {
	b.rule(chain, join(match...), tcp(), exprs{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}})
	b.rule(chain, join(match...), refuse())
}

// toProxy changes the destination to the proxy's.
func (b *builder) toProxy(number uint16) exprs {
	const addressRegister, portRegister = unix.NFT_REG_1, unix.NFT_REG_2
	return exprs{
		&expr.Immediate{Register: addressRegister, Data: b.cfg.DNS.AsSlice()},
		&expr.Immediate{Register: portRegister, Data: binary.BigEndian.AppendUint16(nil, number)},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: addressRegister, RegProtoMin: portRegister, Specified: true},
	}
}
