package ingress

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// visitor is who asks, as far as can be told.
type visitor struct {
	addr  netip.Addr
	chain string // X-Forwarded-For
	proto string // "http" or "https"
	host  string
}

// visitorOf finds out who makes a request. Proxies that are trusted are believed about it, all others are the visitor.
func (s *Server) visitorOf(r *http.Request) visitor {
	peer := addrOf(r.RemoteAddr)
	v := visitor{addr: peer, chain: peer.String(), proto: "http", host: r.Host}
	if r.TLS != nil {
		v.proto = "https"
	}
	if !s.trusts(peer) {
		return v
	}
	var hops []string
	for _, line := range r.Header.Values("X-Forwarded-For") {
		for hop := range strings.SplitSeq(line, ",") {
			hops = append(hops, strings.TrimSpace(hop))
		}
	}
	// The nearest one that is not trusted is the visitor; what it says itself may be invented.
	for _, hop := range slices.Backward(hops) {
		addr, err := netip.ParseAddr(hop)
		if err != nil {
			break
		}
		if v.addr = addr.Unmap().WithZone(""); !s.trusts(v.addr) {
			break
		}
	}
	v.chain = strings.Join(append(hops, peer.String()), ", ")
	if p := r.Header.Get("X-Forwarded-Proto"); p == "http" || p == "https" {
		v.proto = p
	}
	if h := r.Header.Get("X-Forwarded-Host"); h != "" {
		v.host = h
	}
	return v
}

func (s *Server) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(s.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// forward tells the server in the container.
func (v visitor) forward(h http.Header) {
	h.Set("X-Forwarded-For", v.chain)
	h.Set("X-Forwarded-Proto", v.proto)
	h.Set("X-Forwarded-Host", v.host)
}
