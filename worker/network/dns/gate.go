package dns

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Gate decides which names askers get answers for.
type Gate interface {
	// Ask says whether the asker may only have some names, and then whether it may have this one. name is as it was asked for.
	Ask(asker netip.Addr, name string) Access
	// Answered hears of the IPv4 addresses of a Listed name before the asker does. On an error the asker gets a failure instead; one without
	// a kind of package fault is logged.
	Answered(asker netip.Addr, name string, found []Address) error
}

// Access is what an asker may have.
type Access uint8

const (
	// Free askers get every answer.
	Free Access = iota
	// Listed names are answered to an asker that may have some names only.
	Listed
	// Refused names are not: they do not exist for the asker.
	Refused
)

// Address is one that a name has, and for how long that is known.
type Address struct {
	Addr netip.Addr
	TTL  time.Duration
}

// gated returns the reply to a query that the gate has something to say about, or nil if the asker is free.
func (f *Forwarder) gated(ctx context.Context, asker netip.Addr, network string, q *dns.Msg) *dns.Msg {
	if f.cfg.Gate == nil {
		return nil
	}
	name := "" // of a query that is not one question: it is nobody's
	if q.Opcode == dns.OpcodeQuery && !q.Response && len(q.Question) == 1 && q.Question[0].Qclass == dns.ClassINET {
		name = q.Question[0].Name
	}
	switch f.cfg.Gate.Ask(asker, name) {
	case Free:
		return nil
	case Listed:
		return f.listed(ctx, asker, network, q)
	default:
		return refusal(q)
	}
}

// listed answers for a name that the asker may have.
func (f *Forwarder) listed(ctx context.Context, asker netip.Addr, network string, q *dns.Msg) *dns.Msg {
	kind := q.Question[0].Qtype
	if kind == dns.TypeHTTPS || kind == dns.TypeSVCB {
		// No such records: they tell clients to use QUIC and to encrypt the name that they want, neither of which gets through.
		return withQuestion(new(dns.Msg).SetReply(q), q)
	}
	// A query of our own, so that nothing but the name travels on: not its spelling, not options, not further records.
	own := new(dns.Msg).SetQuestion(strings.ToLower(q.Question[0].Name), kind)
	if opt := q.IsEdns0(); opt != nil {
		own.SetEdns0(dns.DefaultMsgSize, opt.Do())
	}
	reply := f.resolve(ctx, network, own)
	if found := addresses(reply); len(found) > 0 {
		if err := f.cfg.Gate.Answered(asker, q.Question[0].Name, found); err != nil {
			if fault.KindOf(err) == nil { // the host's doing, not the asker's
				f.cfg.Log.Warn("addresses of a name can't be opened to a container; it is told that the name can't be resolved", "asker", asker, "err", err)
			}
			return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
		}
	}
	reply.Id = q.Id
	return withQuestion(reply, q)
}

// refusal says that there is no such name, which programs take for final, where they would try again after a refusal; who asks for
// extended errors learns more.
func refusal(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
	m.RecursionAvailable = true
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(dns.DefaultMsgSize, opt.Do())
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{
			InfoCode: dns.ExtendedErrorCodeFiltered, ExtraText: "not in the network policy of this sandbox",
		})
	}
	return m
}

// withQuestion gives a reply the asker's own spelling of the question, which some check.
func withQuestion(reply, q *dns.Msg) *dns.Msg {
	reply.Question = slices.Clone(q.Question)
	reply.RecursionAvailable = true
	return reply
}

func addresses(reply *dns.Msg) []Address {
	var found []Address
	for _, rr := range reply.Answer {
		if a, ok := rr.(*dns.A); ok {
			if addr, ok := netip.AddrFromSlice(a.A.To4()); ok {
				found = append(found, Address{addr, time.Duration(a.Hdr.Ttl) * time.Second})
			}
		}
	}
	return found
}

// Addresses returns the IPv4 addresses of a name for the worker itself. Errors: fault.NotFound if it has none, fault.Unavailable if no
// server answers.
func (f *Forwarder) Addresses(ctx context.Context, name string) ([]Address, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	reply := f.resolve(ctx, "udp", q)
	if reply.Truncated {
		reply = f.resolve(ctx, "tcp", q)
	}
	found := addresses(reply)
	switch {
	case len(found) > 0:
		return found, nil
	case reply.Rcode == dns.RcodeSuccess || reply.Rcode == dns.RcodeNameError:
		return nil, fault.New(fault.NotFound, "name %q has no IPv4 address", name)
	default:
		return nil, fault.New(fault.Unavailable, "name %q: the name servers answer %s", name, dns.RcodeToString[reply.Rcode])
	}
}
