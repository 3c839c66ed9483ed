package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ranges"
)

// openable are ranges without the public internet that an operator may open; never are those that nothing opens.
var openable, never = ranges.Private(), ranges.Never()

// ValidOpen says whether a range can be opened: it must lie in a range that is closed by default and can be opened. Errors: fault.Invalid.
func ValidOpen(p netip.Prefix) error {
	if !p.IsValid() || !p.Addr().Is4() {
		return fault.New(fault.Invalid, "private range %s: not an IPv4 range; containers have IPv4 only", p)
	}
	for _, o := range openable {
		if o.Bits() <= p.Bits() && o.Contains(p.Addr()) {
			return nil
		}
	}
	return fault.New(fault.Invalid, "private range %s: lies in none of the ranges that are closed and can be opened: %s", p, list(openable))
}

func list(prefixes []netip.Prefix) string {
	var s string
	for i, p := range prefixes {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprint(p)
	}
	return s
}

// addressRange is an inclusive range of addresses.
type addressRange struct{ first, last netip.Addr }

// merge returns the union of IPv4 prefixes as sorted ranges that neither overlap nor touch, as nftables wants them.
func merge(prefixes []netip.Prefix) []addressRange {
	sorted := slices.Clone(prefixes)
	slices.SortFunc(sorted, netip.Prefix.Compare)
	var out []addressRange
	for _, p := range sorted {
		r := addressRange{p.Masked().Addr(), lastOf(p)}
		if n := len(out); n > 0 && !out[n-1].touches(r.first) {
			out = append(out, r)
		} else if n == 0 {
			out = append(out, r)
		} else if out[n-1].last.Less(r.last) {
			out[n-1].last = r.last
		}
	}
	return out
}

// touches says whether a, which is not before the range, is in it or just after it.
func (r addressRange) touches(a netip.Addr) bool {
	after := r.last.Next()
	return !after.IsValid() || !after.Less(a)
}

// lastOf returns the last address of an IPv4 prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// Permit says whether an endpoint without limits may reach an address, for those who connect in its place: in the order of the chain
// "egress". Errors: fault.Denied.
func (c Config) Permit(addr netip.Addr) error {
	has := func(prefixes []netip.Prefix) bool {
		return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	switch {
	case !addr.Is4():
		return fault.New(fault.Denied, "address %s: there is IPv4 only", addr)
	case has(c.closed()):
		return fault.New(fault.Denied, "address %s is nobody's on the internet", addr)
	case has(c.Open) || !has(openable):
		return nil
	}
	return fault.New(fault.Denied, "address %s is in a private range, which the operator has not opened", addr)
}

// closed are the ranges that nothing opens.
func (c Config) closed() []netip.Prefix {
	closed := append([]netip.Prefix{c.CIDR}, never...)
	if c.BuildBridge != "" {
		closed = append(closed, c.BuildSubnet)
	}
	return closed
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
