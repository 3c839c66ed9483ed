package tunnel

import (
	"crypto/sha256"
	"encoding/base32"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/skerry-dev/skerry/gateway/route"
	"github.com/skerry-dev/skerry/internal/fault"
)

// localhost is the parent of host names that need no domain: browsers know that they are this machine.
const localhost = "localhost"

// labelLength is that of 16 bytes in base 32.
const labelLength = 26

// labels of host names are in lower case, because DNS knows no other, where ids of sandboxes are not.
var labels = base32.StdEncoding.WithPadding(base32.NoPadding)

// Label is how a sandbox stands in host names: 26 of [a-z2-7], which say nothing about its id.
func Label(sandboxID string) string {
	sum := sha256.Sum256([]byte("host name of " + sandboxID))
	return strings.ToLower(labels.EncodeToString(sum[:16]))
}

// HostName is the name of a port under a parent domain.
func HostName(port uint16, sandboxID, parent string) string {
	return strconv.Itoa(int(port)) + "-" + Label(sandboxID) + "." + parent
}

// errNoName is made once: all requests at the gateway's port are asked for.
var errNoName = fault.New(fault.Invalid, "host: is no name of a sandbox's port")

// splitHost takes a host name apart.
func splitHost(host string) (port uint16, label, parent string, ok bool) {
	first, parent, ok := strings.Cut(host, ".")
	if !ok {
		return 0, "", "", false
	}
	number, label, ok := strings.Cut(first, "-")
	if !ok || number == "" || number[0] == '0' {
		return 0, "", "", false
	}
	n, err := strconv.ParseUint(number, 10, 16)
	return uint16(n), label, parent, err == nil && len(label) == labelLength
}

// Find implements route.Routes for the host names of sandboxes' ports. Where a port is not open, its route asks for a token.
func (s *Service) Find(host string) (route.Route, error) {
	port, label, parent, ok := splitHost(host)
	if !ok {
		return route.Route{}, errNoName
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sb := s.labels[label]
	if sb == nil || (parent != localhost && parent != s.cfg.Domain && (parent != sb.info.CustomDomain || parent == "")) {
		return route.Route{}, fault.New(fault.NotFound, "host %.200q: no sandbox that runs has this name", host)
	}
	to := s.end(sb, port)
	to.local = parent == localhost
	return route.Route{Backend: to, Protocol: sb.protocol(port)}, nil
}

// end is where ways to a port lead.
func (s *Service) end(sb *sandbox, port uint16) *end {
	return &end{service: s, id: sb.id, label: sb.label, port: port}
}

// protocol is what a port speaks where it is spoken to in HTTP. The lock is held.
func (sb *sandbox) protocol(port uint16) route.Protocol {
	if t := sb.tunnels[port]; t != nil && t.kind == H2 {
		return route.H2C
	}
	return route.HTTP1
}

// loopbackOf gives a sandbox an address of its own among those of this machine. Browsers send cookies to every port of an address: one that
// carries a token must not come to another sandbox's server. The lock is held.
func (s *Service) loopbackOf(sb *sandbox) netip.Addr {
	for n := 0; !sb.loopback.IsValid(); n++ {
		sum := sha256.Sum256([]byte("loopback " + strconv.Itoa(n) + " of " + sb.id))
		addr := netip.AddrFrom4([4]byte{127, 64 + sum[0]%64, sum[1], 1 + sum[2]%254})
		if s.loopbacks[addr] == nil {
			s.takeLoopback(sb, addr)
		}
	}
	return sb.loopback
}

func (s *Service) takeLoopback(sb *sandbox, addr netip.Addr) {
	sb.loopback = addr
	s.loopbacks[addr] = sb
}

// present says where a way in is, for clients. The lock is held.
func (s *Service) present(sb *sandbox, w *way) Tunnel {
	t := Tunnel{Port: w.key.Port, Kind: w.kind}
	switch {
	case s.cfg.Domain == "":
		t.Host, t.HostPort = w.addr.Addr().String(), w.addr.Port()
		if w.kind != Unencrypted {
			t.URL = "http://" + w.addr.String()
		}
	case w.kind == Unencrypted && !w.key.Guarded:
		t.Host, t.HostPort = HostName(w.key.Port, sb.id, s.cfg.Domain), w.addr.Port()
	default:
		t.Host, t.HostPort = HostName(w.key.Port, sb.id, s.parent(sb)), s.cfg.DomainPort
		t.URL = "https://" + t.Host
		if t.HostPort != 443 {
			t.URL = "https://" + net.JoinHostPort(t.Host, strconv.Itoa(int(t.HostPort)))
		}
	}
	return t
}

// parent is what a sandbox's host names are under.
func (s *Service) parent(sb *sandbox) string {
	if sb.info.CustomDomain != "" {
		return sb.info.CustomDomain
	}
	return s.cfg.Domain
}
