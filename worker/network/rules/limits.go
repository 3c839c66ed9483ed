package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Limits bound one endpoint further than the rules for all do. The zero value doesn't.
//
// A limited endpoint has a chain of its own, which the map "limits" leads its packets to; everything that it lets through goes on to the
// rules for all. The chain is made anew for each change and takes the old one's place in one transaction. What it does not let through it
// refuses whether the connection is new or not.
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
func (l Limits) Limited() bool { return l.Closed || l.Listed || l.proxied() }

// proxied says whether some connections go to the proxy.
func (l Limits) proxied() bool { return !l.Closed && (l.Web || l.TLS || l.AllTLS) }

// member is an endpoint in the table.
type member struct {
	limits  Limits
	number  uint64                   // in the names of its chains and sets
	learned map[netip.Addr]time.Time // until when
	news    *rate.Limiter            // of learning
}

// name is that of one of its chains or sets.
func (m *member) name(kind string, s Source) string {
	return fmt.Sprintf("%s_%s_%d", kind, s.Interface, m.number)
}

// prepare queues the chains and sets of a limited endpoint. Until engage, packets don't come to them.
func (b *builder) prepare(s Source, m *member, now time.Time) error {
	l := m.limits
	if !l.Limited() {
		return nil
	}
	ranges, err := rangeSet(b.conn, b.table, m.name("ranges", s), l.Ranges)
	if err != nil {
		return err
	}
	learned := &nftables.Set{Table: b.table, Name: m.name(learnedPrefix, s), KeyType: nftables.TypeIPAddr, HasTimeout: true, Size: 2 * MaxLearned}
	if err := b.conn.AddSet(learned, nil); err != nil {
		return fmt.Errorf("nftables set %s: %w", learned.Name, err)
	}
	for some := range slices.Chunk(learnedElements(m.known(now)), maxElements) {
		if err := b.conn.SetAddElements(learned, some); err != nil {
			return fmt.Errorf("nftables set %s: %w", learned.Name, err)
		}
	}
	forward := b.conn.AddChain(&nftables.Chain{Name: m.name("forward", s), Table: b.table})
	b.limitForward(forward, l, ranges, learned)
	if l.proxied() {
		divert := b.conn.AddChain(&nftables.Chain{Name: m.name("divert", s), Table: b.table})
		b.limitDivert(divert, l, ranges)
	}
	return nil
}

// engage queues that an endpoint's packets go by its limits, or by the rules for all.
func (b *builder) engage(s Source, m *member) error {
	chain := egressChain
	if m.limits.Limited() {
		chain = m.name("forward", s)
	}
	if err := b.lead(mapLimits, s, chain); err != nil {
		return err
	}
	if m.limits.Closed {
		return b.conn.SetAddElements(b.set(setClosed), interfaceElement(s))
	}
	if !m.limits.proxied() {
		return nil
	}
	if err := b.conn.SetAddElements(b.set(setProxied), interfaceElement(s)); err != nil {
		return err
	}
	return b.lead(mapDiversions, s, m.name("divert", s))
}

// disengage queues the end of what engage queued.
func (b *builder) disengage(s Source, m *member) error {
	sets := []string{mapLimits}
	switch {
	case m.limits.Closed:
		sets = append(sets, setClosed)
	case m.limits.proxied():
		sets = append(sets, setProxied, mapDiversions)
	}
	for _, set := range sets {
		if err := b.conn.SetDeleteElements(b.set(set), interfaceElement(s)); err != nil {
			return err
		}
	}
	return nil
}

// discard queues the removal of what prepare queued.
func (b *builder) discard(s Source, m *member) {
	if !m.limits.Limited() {
		return
	}
	chains := []string{"forward"}
	if m.limits.proxied() {
		chains = append(chains, "divert")
	}
	for _, kind := range chains {
		b.conn.DelChain(&nftables.Chain{Name: m.name(kind, s), Table: b.table})
	}
	for _, kind := range []string{"ranges", learnedPrefix} {
		b.conn.DelSet(&nftables.Set{Name: m.name(kind, s), Table: b.table})
	}
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
	if l.Learns && l.Settled {
		b.rule(chain, settled())
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

// lead queues that packets from an endpoint's interface go to a chain.
func (b *builder) lead(name string, s Source, chain string) error {
	element := interfaceElement(s)
	element[0].VerdictData = &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}
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
	m := t.members[s]
	if m == nil || !m.limits.Learns || m.limits.Settled {
		return nil
	}
	err := t.commit(func(b *builder) error {
		b.conn.InsertRule(&nftables.Rule{
			Table: b.table, Chain: &nftables.Chain{Name: m.name("forward", s), Table: b.table}, Exprs: settled(),
		})
		return nil
	})
	if err != nil {
		return fmt.Errorf("nftables: settle %s at %s: %w", s.Address, s.Interface, err)
	}
	m.limits.Settled = true
	return nil
}

// settled lets packets of open connections go on.
func settled() exprs {
	return rule(state(expr.CtStateBitESTABLISHED), gotoChain(&nftables.Chain{Name: egressChain}))
}

// replace puts a member in another's place: first what it needs, so that all of it is there when packets come to it, then its packets'
// way. t.mu is held.
func (t *Table) replace(s Source, old, fresh *member) error {
	err := t.swap(s, old, fresh)
	if errors.Is(err, unix.ENOENT) { // somebody has removed the table in between
		if err = t.restore(); err == nil {
			err = t.swap(s, old, fresh)
		}
	}
	if err != nil {
		return fmt.Errorf("nftables: limits of %s at %s: %w", s.Address, s.Interface, err)
	}
	t.members[s] = fresh
	return nil
}

func (t *Table) swap(s Source, old, fresh *member) error {
	if err := t.try(func(b *builder) error { return b.prepare(s, fresh, time.Now()) }); err != nil {
		return err
	}
	err := t.try(func(b *builder) error {
		if err := b.disengage(s, old); err != nil {
			return err
		}
		if err := b.engage(s, fresh); err != nil {
			return err
		}
		b.discard(s, old)
		return nil
	})
	if err != nil {
		err = errors.Join(err, t.try(func(b *builder) error { b.discard(s, fresh); return nil }))
	}
	return err
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
