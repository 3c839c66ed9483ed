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
	"github.com/google/nftables/binaryutil"
	"golang.org/x/sys/unix"
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
	members  map[Source]*member // what is in the table
	numbered uint64             // the last number that a member's objects have
	restored func()             // of Watch; nil while nobody watches
}

// Install puts the rules into the kernel with the given endpoints, in place of any that an earlier process left under the same name, and
// makes way for containers in the host's iptables chains. The rules come as one transaction: there is no moment with half of them, or with
// none for an endpoint that had some.
func Install(cfg Config, endpoints map[Source]Limits) (*Table, error) {
	t := &Table{cfg: cfg, members: map[Source]*member{}}
	t.mu.Lock()
	defer t.mu.Unlock()
	for s, l := range endpoints {
		t.members[s] = t.newMember(l)
	}
	return t, t.install()
}

func (t *Table) newMember(l Limits) *member {
	t.numbered++
	m := &member{limits: l, number: t.numbered, learned: map[netip.Addr]time.Time{}}
	now := time.Now()
	for _, k := range l.Known {
		m.learned[k.Addr] = now.Add(max(k.TTL, minLearned))
	}
	m.limits.Known = nil
	return m
}

// install queues and commits all there is; t.mu is held.
func (t *Table) install() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	b := &builder{conn: conn, table: replaceTable(conn, t.cfg.Table, nftables.TableFamilyINet), cfg: t.cfg}
	if err := b.build(); err != nil {
		return err
	}
	if err := b.sources(slices.Collect(maps.Keys(t.members)), (*nftables.Conn).SetAddElements); err != nil {
		return fmt.Errorf("nftables set sources: %w", err)
	}
	now := time.Now()
	for s, m := range t.members {
		if !m.limits.Limited() {
			continue
		}
		if err := b.addLimits(s, m, now); err != nil {
			return err
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("install nftables table %q: %w", t.cfg.Table, err)
	}
	if t.cfg.BuildBridge != "" {
		if err := isolate(t.cfg); err != nil {
			return err
		}
	}
	return admit(t.cfg)
}

// replaceTable queues the removal of a table, whether there is one or not, and its creation.
func replaceTable(conn *nftables.Conn, name string, family nftables.TableFamily) *nftables.Table {
	table := &nftables.Table{Name: name, Family: family}
	conn.AddTable(table)
	conn.DelTable(table)
	return conn.AddTable(table)
}

// Source is an interface and the address that the endpoint behind it may send from.
type Source struct {
	Interface string
	Address   netip.Addr
}

// Add lets an endpoint send, without limits.
func (t *Table) Add(s Source) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.commit(func(b *builder) error { return b.sources([]Source{s}, (*nftables.Conn).SetAddElements) })
	if err != nil {
		return fmt.Errorf("nftables: admit %s from %s: %w", s.Address, s.Interface, err)
	}
	t.members[s] = t.newMember(Limits{})
	return nil
}

// Remove takes back what Add gave, of all or, if one was not added, of none. One call for many is much faster than many.
func (t *Table) Remove(sources []Source) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.commit(func(b *builder) error {
		for _, s := range sources {
			if m := t.members[s]; m != nil && m.limits.Limited() {
				if err := b.removeLimits(s, m); err != nil {
					return err
				}
			}
		}
		return b.sources(sources, (*nftables.Conn).SetDeleteElements)
	})
	if err != nil {
		return fmt.Errorf("nftables: withdraw %d endpoints: %w", len(sources), err)
	}
	for _, s := range sources {
		delete(t.members, s)
	}
	return nil
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
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	b := &builder{conn: conn, table: &nftables.Table{Name: t.cfg.Table, Family: nftables.TableFamilyINet}, cfg: t.cfg}
	if err := queue(b); err != nil {
		return err
	}
	return conn.Flush()
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

// Delete removes the tables of that name and what is in the host's iptables chains for it, whoever made them. None there is no error.
func Delete(name string) error {
	if err := withdraw(name); err != nil {
		return err
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyBridge} {
		tables, err := conn.ListTablesOfFamily(family)
		if err != nil {
			return fmt.Errorf("list nftables tables: %w", err)
		}
		for _, table := range tables {
			if table.Name == name {
				conn.DelTable(table)
			}
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("delete nftables table %q: %w", name, err)
	}
	return nil
}

// sourceKey is an interface and the address that may be a source there.
var sourceKey = nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIPAddr)

// rangeSet queues a set of IPv4 ranges.
func rangeSet(conn *nftables.Conn, table *nftables.Table, name string, prefixes []netip.Prefix) (*nftables.Set, error) {
	set := &nftables.Set{Table: table, Name: name, KeyType: nftables.TypeIPAddr, Interval: true, KeyByteOrder: binaryutil.BigEndian}
	var elements []nftables.SetElement
	for _, r := range merge(prefixes) {
		elements = append(elements, nftables.SetElement{Key: r.first.AsSlice()})
		if after := r.last.Next(); after.IsValid() {
			elements = append(elements, nftables.SetElement{Key: after.AsSlice(), IntervalEnd: true})
		}
	}
	if err := conn.AddSet(set, nil); err != nil {
		return nil, fmt.Errorf("nftables set %s: %w", name, err)
	}
	for some := range slices.Chunk(elements, maxElements) {
		if err := conn.SetAddElements(set, some); err != nil {
			return nil, fmt.Errorf("nftables set %s: %w", name, err)
		}
	}
	return set, nil
}
