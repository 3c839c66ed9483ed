// Package rules holds the nftables rules that keep containers and image builds away from everything but the internet.
//
// All of them are in one table per instance, of the family inet, plus one of the family bridge where there is a build bridge:
//
//	prerouting (raw)        IPv6 and packets whose source is not the endpoint's own address are dropped, before they cost a conntrack entry
//	divert     (dstnat)     web connections of some limited endpoints go to the proxy on the host
//	forward    (filter-10)  from containers and builds: other containers, private, metadata and special ranges are rejected, as are
//	                        connections beyond a number; the rest goes on; towards them: only replies
//	input      (filter-10)  from containers and builds: DNS to the forwarder, diverted connections to the proxy, nothing else, whatever address of the
//	                        host was meant
//	postrouting (srcnat)    the containers' addresses are masqueraded
//
// The kernel's rule for several tables on one hook is that a drop is final and an accept is not, so no other table can open what these
// close. The reverse holds too: a firewall that drops by policy also drops what these let through; see admit.
//
// Which endpoint may send is one element of the set "sources", keyed by interface and address; starting or ending a container touches no
// rule. An endpoint with limits has chains of its own; see Limits.
package rules

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Config says what the rules are about.
type Config struct {
	// Table is the name of the tables, such as "skerry_0a1b2c".
	Table string
	// Prefix is what the names of all containers' interfaces on the host begin with, and no other interface's.
	Prefix string
	// CIDR is the range of the containers' addresses.
	CIDR netip.Prefix
	// DNS is the address of the DNS forwarder on the host.
	DNS netip.Addr
	// ProxyTLS and ProxyHTTP are the ports of the egress proxy at that address.
	ProxyTLS, ProxyHTTP uint16
	// Open are ranges that are opened though they are private; see ValidOpen.
	Open []netip.Prefix
	// BuildBridge is the bridge of image builds, which need not exist yet; none if empty.
	BuildBridge string
	// BuildSubnet is the range of the builds' addresses.
	BuildSubnet netip.Prefix
}

// Table is the installed rules. Its methods may be called concurrently.
type Table struct {
	cfg Config

	mu       sync.Mutex
	name     string             // of the inet table
	conn     *nftables.Conn     // nil until the first transaction and after one that failed
	members  map[Source]*member // what is in the table
	numbered uint64             // the last number that a member's objects have
	restored func()             // of Watch; nil while nobody watches
}

// Install puts the rules into the kernel with the given endpoints, in place of any that an earlier process left under the same name, and
// makes way for containers in the host's iptables chains.
//
// There is no moment without rules, and none in which they are others than the old or the new ones. One transaction would not do: while the
// kernel replaces a table, packets may find its sets empty. So the new table is made beside the old one, under one of two names; its
// chains are hooked to the packets' way once its sets are there, and then the old one is removed.
func Install(cfg Config, endpoints map[Source]Limits) (*Table, error) {
	t := &Table{cfg: cfg, members: map[Source]*member{}}
	t.mu.Lock()
	defer t.mu.Unlock()
	for s, l := range endpoints {
		t.members[s] = t.newMember(l)
	}
	earlier, err := inUse(cfg.Table)
	if err != nil {
		return nil, err
	}
	t.name = names(cfg.Table)[0]
	if slices.Contains(earlier, t.name) {
		t.name = names(cfg.Table)[1]
	}
	err = t.install(len(earlier) == 0)
	if err == nil {
		err = deleteTables(nftables.TableFamilyINet, earlier)
	}
	if err != nil {
		return nil, errors.Join(err, t.disconnect())
	}
	return t, nil
}

func (t *Table) newMember(l Limits) *member {
	t.numbered++
	m := &member{limits: l, number: t.numbered, learned: map[netip.Addr]time.Time{}, news: rate.NewLimiter(LearnRate, LearnBurst)}
	now := time.Now()
	for _, k := range l.Known {
		m.learned[k.Addr] = now.Add(max(k.TTL, minLearned))
	}
	m.limits.Known = nil
	return m
}

// install makes all there is. Where packets have no rules yet they come to it at once, and those of an endpoint are dropped until it is
// there; otherwise they come to it when all is. t.mu is held.
func (t *Table) install(atOnce bool) error {
	if err := t.installTable(atOnce); err != nil {
		return fmt.Errorf("install nftables table %q: %w", t.name, err)
	}
	if t.cfg.BuildBridge != "" {
		if err := isolate(t.cfg); err != nil {
			return err
		}
	}
	return admit(t.cfg)
}

// installTable makes the table in several transactions, for the kernel takes only so much in one.
func (t *Table) installTable(atOnce bool) error {
	err := t.try(func(b *builder) error {
		replaceTable(b.conn, t.name, nftables.TableFamilyINet)
		if err := b.build(); err != nil {
			return err
		}
		if atOnce {
			b.hook()
		}
		return nil
	})
	if err != nil {
		return err
	}
	for some := range slices.Chunk(slices.Collect(maps.Keys(t.members)), maxMembers) {
		if err := t.try(func(b *builder) error { return b.members(some, t.members) }); err != nil {
			return err
		}
	}
	if atOnce {
		return nil
	}
	return t.try(func(b *builder) error { b.hook(); return nil })
}

// members queues endpoints with their limits.
func (b *builder) members(some []Source, members map[Source]*member) error {
	if err := b.sources(some, (*nftables.Conn).SetAddElements); err != nil {
		return err
	}
	now := time.Now()
	for _, s := range some {
		if err := b.prepare(s, members[s], now); err != nil {
			return err
		}
		if err := b.engage(s, members[s]); err != nil {
			return err
		}
	}
	return nil
}

// maxMembers is how many endpoints one transaction has: up to 1.5 MiB, where all have the longest lists. socketBuffer, in bytes, is twice
// what that takes, and what the kernel's answers to it do.
const (
	maxMembers   = 16
	socketBuffer = 4 << 20
)

// Source is an interface and the address that the endpoint behind it may send from.
type Source struct {
	Interface string
	Address   netip.Addr
}

// Add lets an endpoint send, without limits.
func (t *Table) Add(s Source) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.newMember(Limits{})
	err := t.commit(func(b *builder) error {
		if err := b.engage(s, m); err != nil {
			return err
		}
		return b.sources([]Source{s}, (*nftables.Conn).SetAddElements)
	})
	if err != nil {
		return fmt.Errorf("nftables: admit %s from %s: %w", s.Address, s.Interface, err)
	}
	t.members[s] = m
	return nil
}

// Remove takes back what Add gave. One call for many is much faster than many. Errors: fault.NotFound if one was not added, and then all
// stay.
func (t *Table) Remove(sources []Source) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range sources {
		if t.members[s] == nil {
			return fault.New(fault.NotFound, "nftables: no endpoint %s at %s", s.Address, s.Interface)
		}
	}
	for some := range slices.Chunk(sources, maxMembers) {
		if err := t.commit(func(b *builder) error { return b.withdraw(some, t.members) }); err != nil {
			return fmt.Errorf("nftables: withdraw %d endpoints: %w", len(some), err)
		}
		for _, s := range some {
			delete(t.members, s)
		}
	}
	return nil
}

// withdraw queues the removal of endpoints.
func (b *builder) withdraw(some []Source, members map[Source]*member) error {
	for _, s := range some {
		if err := b.disengage(s, members[s]); err != nil {
			return err
		}
		b.discard(s, members[s])
	}
	return b.sources(some, (*nftables.Conn).SetDeleteElements)
}

// Retain removes all but the given endpoints.
func (t *Table) Retain(sources []Source) error {
	t.mu.Lock()
	var gone []Source
	for s := range t.members {
		if !slices.Contains(sources, s) {
			gone = append(gone, s)
		}
	}
	t.mu.Unlock()
	if len(gone) == 0 {
		return nil
	}
	return t.Remove(gone)
}

// commit queues and commits one transaction. Where the table has just been removed by somebody it comes back first: Watch may not have
// heard yet. t.mu is held.
func (t *Table) commit(queue func(*builder) error) error {
	err := t.try(queue)
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	if err := t.restore(); err != nil {
		return err
	}
	return t.try(queue)
}

func (t *Table) try(queue func(*builder) error) error {
	if t.conn == nil {
		// One for all transactions: closing one waits until the kernel has freed what was removed, some 10 ms.
		conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
			return errors.Join(c.SetReadBuffer(socketBuffer), c.SetWriteBuffer(socketBuffer))
		}))
		if err != nil {
			return err
		}
		t.conn = conn
	}
	b := &builder{conn: t.conn, table: &nftables.Table{Name: t.name, Family: nftables.TableFamilyINet}, cfg: t.cfg}
	err := queue(b)
	if err == nil {
		err = t.conn.Flush()
	}
	if err != nil { // what was queued, or not answered, must not get into the next one
		err = errors.Join(err, t.disconnect())
	}
	return err
}

func (t *Table) disconnect() error {
	conn := t.conn
	t.conn = nil
	if conn == nil {
		return nil
	}
	return conn.CloseLasting()
}

// Close gives back what the process holds; the rules stay.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.disconnect()
}

// elementOp is SetAddElements or SetDeleteElements.
type elementOp func(*nftables.Conn, *nftables.Set, []nftables.SetElement) error

// maxElements of one message keeps its list within the 64 KiB of a netlink attribute.
const maxElements = 500

// sources queues a change of who may send.
func (b *builder) sources(sources []Source, op elementOp) error {
	for some := range slices.Chunk(sources, maxElements) {
		elements := make([]nftables.SetElement, 0, len(some))
		for _, s := range some {
			elements = append(elements, nftables.SetElement{Key: append(ifname(s.Interface), s.Address.AsSlice()...)})
		}
		if err := op(b.conn, b.set(setSources), elements); err != nil {
			return err
		}
	}
	return nil
}
