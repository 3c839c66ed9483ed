package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"

	"github.com/skerry-dev/skerry/internal/fault"
)

// learnedPrefix begins the names of sets of learned addresses.
const learnedPrefix = "learned"

// Learned is an address that a name server gave, and how long it stays open.
type Learned struct {
	Addr netip.Addr
	TTL  time.Duration
}

// MaxLearned is how many addresses one endpoint may have learned at a time.
const MaxLearned = 2048

// minLearned keeps the kernel's clock from forgetting an element before it is there.
const minLearned = time.Second

// known returns what is still learned.
func (m *member) known(now time.Time) []Learned {
	var found []Learned
	for addr, until := range m.learned {
		if left := until.Sub(now); left > 0 {
			found = append(found, Learned{addr, left})
		}
	}
	return found
}

// Bounds of how many answers with new addresses one endpoint may get a second on average, and at once: each is a transaction, which all
// endpoints of the host wait for.
const (
	LearnRate  = 50
	LearnBurst = 500
)

// Learn opens addresses to an endpoint whose limits say that it learns; one that is open already gets the longer time. Beyond MaxLearned
// those that would be forgotten first are. Errors: fault.NotFound if it was not added or learns nothing, fault.Exhausted beyond LearnRate.
func (t *Table) Learn(s Source, found []Learned) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.members[s]
	if m == nil || !m.limits.Learns {
		return fault.New(fault.NotFound, "nftables: no endpoint %s at %s that learns", s.Address, s.Interface)
	}
	now := time.Now()
	fresh := m.fresh(found, now)
	if len(fresh) == 0 {
		return nil
	}
	if !m.news.Allow() {
		return fault.New(fault.Exhausted, "%s at %s asks for too many new addresses", s.Address, s.Interface)
	}
	forgotten := m.displaced(len(fresh))
	err := t.commit(func(b *builder) error {
		set := &nftables.Set{Table: b.table, Name: m.name(learnedPrefix, s), KeyType: nftables.TypeIPAddr, HasTimeout: true}
		return b.learn(set, learnedElements(fresh), learnedElements(forgotten))
	})
	if err != nil {
		return fmt.Errorf("nftables: addresses of %s at %s: %w", s.Address, s.Interface, err)
	}
	for _, l := range fresh {
		m.learned[l.Addr] = now.Add(l.TTL)
	}
	for _, l := range forgotten {
		delete(m.learned, l.Addr)
	}
	return nil
}

// learn queues it. An element's time can't be changed and one that has run out can't be removed, and only the kernel knows which those are;
// so each is added, which does nothing to one that is there, and removed.
func (b *builder) learn(set *nftables.Set, fresh, forgotten []nftables.SetElement) error {
	for _, step := range []struct {
		op       elementOp
		elements []nftables.SetElement
	}{
		{(*nftables.Conn).SetAddElements, forgotten}, {(*nftables.Conn).SetDeleteElements, forgotten},
		{(*nftables.Conn).SetAddElements, fresh}, {(*nftables.Conn).SetDeleteElements, fresh}, {(*nftables.Conn).SetAddElements, fresh},
	} {
		if len(step.elements) == 0 {
			continue
		}
		if err := step.op(b.conn, set, step.elements); err != nil {
			return err
		}
	}
	return nil
}

// fresh returns what of found is news, each address once, and forgets what has run out. What would be open hardly longer than it already is
// is no news: a program that asks for a name again and again costs no transaction each time.
func (m *member) fresh(found []Learned, now time.Time) []Learned {
	for addr, until := range m.learned {
		if !until.After(now) {
			delete(m.learned, addr)
		}
	}
	longest := map[netip.Addr]time.Duration{}
	for _, l := range found {
		ttl := max(l.TTL, minLearned)
		if l.Addr.Is4() && m.learned[l.Addr].Sub(now) < ttl-ttl/4 && len(longest) < maxElements {
			longest[l.Addr] = max(longest[l.Addr], ttl)
		}
	}
	fresh := make([]Learned, 0, len(longest))
	for addr, ttl := range longest {
		fresh = append(fresh, Learned{addr, ttl})
	}
	return fresh
}

// displaced returns who is to make room for as many.
func (m *member) displaced(coming int) []Learned {
	over := len(m.learned) + coming - MaxLearned
	if over <= 0 {
		return nil
	}
	all := make([]Learned, 0, len(m.learned))
	for addr, until := range m.learned {
		all = append(all, Learned{addr, time.Duration(until.UnixNano())})
	}
	slices.SortFunc(all, func(a, b Learned) int { return int(a.TTL - b.TTL) })
	out := all[:min(over, len(all))]
	for i := range out {
		out[i].TTL = minLearned // of the element that is added to be removed
	}
	return out
}

func learnedElements(known []Learned) []nftables.SetElement {
	elements := make([]nftables.SetElement, 0, len(known))
	for _, k := range known {
		elements = append(elements, nftables.SetElement{Key: k.Addr.AsSlice(), Timeout: max(k.TTL, minLearned)})
	}
	return elements
}

// Remembered returns what the endpoints of the table of that name have learned, by interface, from the kernel: so that a process can go on
// with what an earlier one was told. No table is no error.
func Remembered(table string) (map[string][]Learned, error) {
	used, err := inUse(table)
	if err != nil {
		return nil, err
	}
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	found := map[string][]Learned{}
	for _, name := range used {
		sets, err := conn.GetSets(&nftables.Table{Name: name, Family: nftables.TableFamilyINet})
		if err != nil {
			return nil, fmt.Errorf("list sets of nftables table %q: %w", name, err)
		}
		for _, set := range sets {
			rest, ok := strings.CutPrefix(set.Name, learnedPrefix+"_")
			iface, _, numbered := strings.Cut(rest, "_")
			if !ok || !numbered {
				continue
			}
			elements, err := conn.GetSetElements(set)
			if err != nil {
				return nil, fmt.Errorf("list nftables set %q: %w", set.Name, err)
			}
			for _, e := range elements {
				if addr, ok := netip.AddrFromSlice(e.Key); ok && addr.Is4() {
					found[iface] = append(found[iface], Learned{addr, e.Expires})
				}
			}
		}
	}
	return found, nil
}
