package rules

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// builder queues the chains of the inet table.
type builder struct {
	conn  *nftables.Conn
	table *nftables.Table
	cfg   Config
}

// Priorities of the base chains. Being before "filter" only saves work: whatever order tables are in, a drop is final.
const (
	rawPriority    = -300
	filterPriority = -10
	natPriority    = 100
	divertPriority = -100
)

// MaxConnections is how many connections one container or build may have open to the outside: the host's table of connections is limited,
// and full, nobody on the host gets a new one.
const MaxConnections = 4096

// maxSenders is how many addresses connections are counted for.
const maxSenders = 1 << 18

// Names of sets, maps and chains. Sets and maps of endpoints, but for "sources", have the interface's name alone as their key: its address has been checked before.
const (
	setSources    = "sources"
	setClosed     = "closed_endpoints"
	setProxied    = "proxied"
	mapLimits     = "limits"
	mapDiversions = "diversions"
	egressChain   = "egress"
	ingressChain  = "ingress"
	hostChain     = "host"
)

// set describes one of them.
func (b *builder) set(name string) *nftables.Set {
	s := &nftables.Set{Table: b.table, Name: name, KeyType: nftables.TypeIFName}
	switch name {
	case setSources:
		s.KeyType, s.Concatenation = sourceKey, true
	case mapLimits, mapDiversions:
		s.IsMap, s.DataType = true, nftables.TypeVerdict
	}
	return s
}

// build queues the sets and the chains that others lead to. Until hook, packets don't come to them.
func (b *builder) build() error {
	for _, name := range []string{setSources, setClosed, setProxied, mapLimits, mapDiversions} {
		if err := b.conn.AddSet(b.set(name), nil); err != nil {
			return fmt.Errorf("nftables set %s: %w", name, err)
		}
	}
	closedSet, err := rangeSet(b.conn, b.table, "closed", b.cfg.closed())
	if err != nil {
		return err
	}
	openSet, err := rangeSet(b.conn, b.table, "open", b.cfg.Open)
	if err != nil {
		return err
	}
	privateSet, err := rangeSet(b.conn, b.table, "private", openable)
	if err != nil {
		return err
	}
	flows := &nftables.Set{Table: b.table, Name: "flows", KeyType: nftables.TypeIPAddr, Dynamic: true, Size: maxSenders}
	if err := b.conn.AddSet(flows, nil); err != nil {
		return fmt.Errorf("nftables set flows: %w", err)
	}
	counted := b.conn.AddChain(&nftables.Chain{Name: "counted", Table: b.table})
	b.rule(counted, state(expr.CtStateBitNEW), source(firstRegister), over(flows, MaxConnections), refuse())
	b.egress(closedSet, openSet, privateSet, counted)
	b.ingress()
	b.host(counted)
	return nil
}

// hook queues the chains that packets come to first.
func (b *builder) hook() {
	b.guard()
	b.divert()
	b.forward()
	b.input()
	b.masquerade()
}

// guard drops what an endpoint may not send at all.
func (b *builder) guard() {
	chain := b.base("prerouting", nftables.ChainHookPrerouting, rawPriority, nftables.ChainTypeFilter)
	b.rule(chain, b.fromContainer(), notIPv4(), verdict(expr.VerdictDrop))
	b.rule(chain, b.fromContainer(), meta(expr.MetaKeyIIFNAME), source(endOfInterface), notIn(b.set(setSources)), verdict(expr.VerdictDrop))
	if b.cfg.BuildBridge == "" {
		return
	}
	b.rule(chain, b.fromBuild(), notIPv4(), verdict(expr.VerdictDrop))
	b.rule(chain, b.fromBuild(), source(firstRegister), outside(b.cfg.BuildSubnet), verdict(expr.VerdictDrop))
}

// divert sends connections of some limited endpoints to the proxy.
func (b *builder) divert() {
	chain := b.base("divert", nftables.ChainHookPrerouting, divertPriority, nftables.ChainTypeNAT)
	b.rule(chain, b.fromContainer(), meta(expr.MetaKeyIIFNAME), lookUp(b.set(mapDiversions)))
}

// egress decides about packets from containers or builds to the world.
func (b *builder) egress(closed, open, private *nftables.Set, counted *nftables.Chain) {
	chain := b.conn.AddChain(&nftables.Chain{Name: egressChain, Table: b.table})
	b.rule(chain, notIPv4(), verdict(expr.VerdictDrop))
	b.rule(chain, state(expr.CtStateBitESTABLISHED), verdict(expr.VerdictAccept))
	b.rule(chain, state(expr.CtStateBitINVALID), verdict(expr.VerdictDrop))
	b.rule(chain, destination(), in(closed), refuse())
	b.rule(chain, destination(), in(open), gotoChain(counted))
	b.rule(chain, destination(), in(private), refuse())
	b.rule(chain, gotoChain(counted))
}

// ingress lets replies alone in to containers and builds.
func (b *builder) ingress() {
	chain := b.conn.AddChain(&nftables.Chain{Name: ingressChain, Table: b.table})
	b.rule(chain, meta(expr.MetaKeyOIFNAME), in(b.set(setClosed)), verdict(expr.VerdictDrop))
	b.rule(chain, state(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), verdict(expr.VerdictAccept))
	b.rule(chain, verdict(expr.VerdictDrop))
}

// host closes the host to containers and builds, but for the DNS forwarder and, for those whose connections it gets, the proxy.
func (b *builder) host(counted *nftables.Chain) {
	chain := b.conn.AddChain(&nftables.Chain{Name: hostChain, Table: b.table})
	b.rule(chain, notIPv4(), verdict(expr.VerdictDrop))
	b.refuse(chain, meta(expr.MetaKeyIIFNAME), in(b.set(setClosed)))
	for _, protocol := range []exprs{udp(), tcp()} {
		b.rule(chain, destination(), equal(b.cfg.DNS.AsSlice()), protocol, port(portDNS), verdict(expr.VerdictAccept))
	}
	for _, number := range []uint16{b.cfg.ProxyTLS, b.cfg.ProxyHTTP} {
		b.rule(chain, meta(expr.MetaKeyIIFNAME), in(b.set(setProxied)), destination(), equal(b.cfg.DNS.AsSlice()), tcp(), port(number),
			gotoChain(counted))
	}
	b.rule(chain, refuse())
}

// forward leads packets between containers or builds and the world to where they are decided about. A container that the map doesn't have
// is not there yet, or just being replaced: its packet is dropped, and sent again.
func (b *builder) forward() {
	chain := b.base("forward", nftables.ChainHookForward, filterPriority, nftables.ChainTypeFilter)
	b.rule(chain, b.fromContainer(), meta(expr.MetaKeyIIFNAME), lookUp(b.set(mapLimits)))
	b.rule(chain, b.fromContainer(), verdict(expr.VerdictDrop))
	if b.cfg.BuildBridge != "" {
		b.rule(chain, b.fromBuild(), jump(&nftables.Chain{Name: egressChain}))
	}
	for _, to := range b.receivers() {
		b.rule(chain, to, jump(&nftables.Chain{Name: ingressChain}))
	}
}

// input leads packets of containers and builds for the host to where they are decided about.
func (b *builder) input() {
	chain := b.base("input", nftables.ChainHookInput, filterPriority, nftables.ChainTypeFilter)
	for _, from := range b.senders() {
		b.rule(chain, from, jump(&nftables.Chain{Name: hostChain}))
	}
}

// masquerade gives containers the host's address. BuildKit's bridge does that for builds by itself.
func (b *builder) masquerade() {
	chain := b.base("postrouting", nftables.ChainHookPostrouting, natPriority, nftables.ChainTypeNAT)
	b.rule(chain, source(firstRegister), inside(b.cfg.CIDR), meta(expr.MetaKeyOIFNAME), notEqual([]byte(b.cfg.Prefix)),
		exprs{&expr.Masq{}})
}

func (b *builder) senders() []exprs {
	if b.cfg.BuildBridge == "" {
		return []exprs{b.fromContainer()}
	}
	return []exprs{b.fromContainer(), b.fromBuild()}
}

func (b *builder) receivers() []exprs {
	container := join(meta(expr.MetaKeyOIFNAME), equal([]byte(b.cfg.Prefix)))
	if b.cfg.BuildBridge == "" {
		return []exprs{container}
	}
	return []exprs{container, join(meta(expr.MetaKeyOIFNAME), equal(ifname(b.cfg.BuildBridge)))}
}

// fromContainer compares the beginning of the name alone.
func (b *builder) fromContainer() exprs {
	return join(meta(expr.MetaKeyIIFNAME), equal([]byte(b.cfg.Prefix)))
}

func (b *builder) fromBuild() exprs {
	return join(meta(expr.MetaKeyIIFNAME), equal(ifname(b.cfg.BuildBridge)))
}

func (b *builder) base(name string, hook *nftables.ChainHook, priority int, kind nftables.ChainType) *nftables.Chain {
	return b.conn.AddChain(&nftables.Chain{
		Name: name, Table: b.table, Type: kind, Hooknum: hook,
		Priority: nftables.ChainPriorityRef(nftables.ChainPriority(priority)), //nolint:gosec // constants of this package, all small
	})
}

func (b *builder) rule(chain *nftables.Chain, parts ...exprs) {
	b.conn.AddRule(&nftables.Rule{Table: b.table, Chain: chain, Exprs: rule(parts...)})
}
