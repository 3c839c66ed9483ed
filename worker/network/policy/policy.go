// Package policy says where one endpoint may go, and which secrets are added to its requests on the way.
//
// A Policy only ever takes away: the host, other containers, private ranges and metadata addresses stay closed whatever it lists, unless
// the operator has opened them. Its zero value takes nothing away.
package policy

import (
	"net/netip"
	"slices"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Bounds of a policy.
const (
	MaxCIDRs   = 1000
	MaxDomains = 1000
	MaxSecrets = 100
)

// Policy is where an endpoint may go. As JSON it keeps the difference between no list and an empty one, and leaves out secret values.
type Policy struct {
	// Block closes everything, the name server included. The lists must be nil then.
	Block bool `json:"block,omitempty"`
	// CIDRs are ranges that are open on every port and protocol; nil: no such list. IPv6 ranges are valid and match nothing, since endpoints
	// have IPv4 only.
	CIDRs []netip.Prefix `json:"cidrs"`
	// Domains are names that are open: "example.com", "*.example.com" for all below it at any depth and not itself, "*" for all names. nil:
	// no such list. Where one of the lists is set, only what one of them names is open; where both are nil, everything is.
	Domains []string `json:"domains"`
	// Secrets are added to requests to the hosts that they name. They open nothing.
	Secrets []Secret `json:"secrets,omitempty"`
}

// Normal checks p and returns a copy with names and ranges in one spelling. Errors: fault.Invalid.
func (p Policy) Normal() (Policy, error) {
	out := Policy{Block: p.Block}
	if p.Block && (p.CIDRs != nil || p.Domains != nil || len(p.Secrets) > 0) {
		return Policy{}, fault.New(fault.Invalid, "network policy: a blocked network has no lists and no secrets; leave out one or the other")
	}
	for _, bound := range []struct {
		what      string
		have, max int
	}{{"ranges", len(p.CIDRs), MaxCIDRs}, {"domains", len(p.Domains), MaxDomains}, {"secrets", len(p.Secrets), MaxSecrets}} {
		if bound.have > bound.max {
			return Policy{}, fault.New(fault.Invalid, "network policy: %d %s; at most %d", bound.have, bound.what, bound.max)
		}
	}
	if p.CIDRs != nil {
		out.CIDRs = make([]netip.Prefix, 0, len(p.CIDRs))
	}
	for _, c := range p.CIDRs {
		if !c.IsValid() || c.Addr().Is4In6() || c.Addr().Zone() != "" {
			return Policy{}, fault.New(fault.Invalid, "network policy: range %q is no IPv4 or IPv6 range; write it as 192.0.2.0/24", c)
		}
		out.CIDRs = append(out.CIDRs, c.Masked())
	}
	if p.Domains != nil {
		out.Domains = make([]string, 0, len(p.Domains))
	}
	for _, d := range p.Domains {
		name, err := pattern(d)
		if err != nil {
			return Policy{}, err
		}
		out.Domains = append(out.Domains, name)
	}
	for i, s := range p.Secrets {
		s, err := s.normal()
		if err != nil {
			return Policy{}, fault.New(fault.Invalid, "network policy: secret %d: %v", i, err)
		}
		out.Secrets = append(out.Secrets, s)
	}
	return out, nil
}

// Listed says that only what a list names is open.
func (p Policy) Listed() bool { return p.CIDRs != nil || p.Domains != nil }

// HasAddress says whether the list of ranges has addr.
func (p Policy) HasAddress(addr netip.Addr) bool {
	return slices.ContainsFunc(p.CIDRs, func(c netip.Prefix) bool { return c.Contains(addr) })
}

// HasName says whether the list of domains has name, which is in the spelling of Name.
func (p Policy) HasName(name string) bool { return matches(p.Domains, name) }

// HasEveryName says whether the list of domains has every name.
func (p Policy) HasEveryName() bool { return slices.Contains(p.Domains, everything) }

// SecretsOf returns those that name is a host of; name is in the spelling of Name.
func (p Policy) SecretsOf(name string) []Secret {
	var found []Secret
	for _, s := range p.Secrets {
		if matches(s.Hosts, name) {
			found = append(found, s)
		}
	}
	return found
}

// Ranges4 are the ranges that can match anything: those of IPv4.
func (p Policy) Ranges4() []netip.Prefix {
	var found []netip.Prefix
	for _, c := range p.CIDRs {
		if c.Addr().Is4() {
			found = append(found, c)
		}
	}
	return found
}
