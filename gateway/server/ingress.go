package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/skerry-dev/skerry/gateway/ingress"
	"github.com/skerry-dev/skerry/gateway/route"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/tunnel"
	"github.com/skerry-dev/skerry/internal/fault"
)

// IngressConfig says how ports of sandboxes are reached from outside. The zero value: at loopback addresses.
type IngressConfig struct {
	// Domain is the parent of host names, with ":port" where URLs have another than that of the listener.
	Domain string
	// Listen is an address for host names alone. Empty: they are served at the one port.
	Listen string
	// Certs and Keys are PEM files for Listen, in pairs.
	Certs, Keys []string
	// Ports is the range of ports for tunnels, such as "20000-29999". Empty: any that is free, and no unencrypted ones with a domain.
	Ports string
	// TrustedProxies are ranges of addresses that are believed what they say about their visitors.
	TrustedProxies []string
}

// domainForm is a domain in lower case, of at least two labels.
var domainForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// openIngress opens what host names are served by.
func (s *Server) openIngress(ctx context.Context) error {
	c := s.cfg.Ingress
	cfg := ingress.Config{Listen: c.Listen}
	if len(c.Certs) != len(c.Keys) {
		return fault.New(fault.Invalid, "ingress_cert: %d files, ingress_key: %d; they go in pairs", len(c.Certs), len(c.Keys))
	}
	if c.Listen == "" && len(c.Certs) > 0 {
		return fault.New(fault.Invalid, "ingress_cert: is for ingress_listen, which is not set; the one port has tls_cert")
	}
	if c.Listen != "" {
		if c.Domain == "" {
			return fault.New(fault.Invalid, "ingress_listen %q: needs the domain of the host names to serve", c.Listen)
		}
		if len(c.Certs) == 0 {
			if err := checkClear("ingress_listen", c.Listen, s.cfg.Insecure); err != nil {
				return err
			}
		}
	}
	for i := range c.Certs {
		cfg.Certificates = append(cfg.Certificates, ingress.KeyPair{Cert: c.Certs[i], Key: c.Keys[i]})
	}
	if c.Listen == "" && s.cfg.TLSCert != "" {
		cfg.Certificates = []ingress.KeyPair{{Cert: s.cfg.TLSCert, Key: s.cfg.TLSKey}}
	}
	for _, text := range c.TrustedProxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fault.New(fault.Invalid, "trusted_proxies %q: want a range of addresses, such as 10.0.0.0/8", text)
		}
		cfg.TrustedProxies = append(cfg.TrustedProxies, p.Masked())
	}
	var err error
	s.ingress, err = ingress.New(ctx, cfg, s.log)
	return err
}

// tunnelConfig says by which addresses ports are reached.
func (s *Server) tunnelConfig() (tunnel.Config, error) {
	c := s.cfg.Ingress
	cfg := tunnel.Config{Covers: s.ingress.Covers}
	var err error
	if cfg.FirstPort, cfg.LastPort, err = portRange(c.Ports); err != nil || c.Domain == "" {
		return cfg, err
	}
	at := s.Addr()
	if c.Listen != "" {
		at = s.ingress.Addr()
	}
	bound, err := netip.ParseAddrPort(at.String())
	if err != nil {
		return cfg, fault.New(fault.Invalid, "address %q: %w", at, err)
	}
	cfg.Domain, cfg.DomainPort, cfg.RawAddr = c.Domain, bound.Port(), bound.Addr()
	if host, port, found := strings.Cut(c.Domain, ":"); found {
		n, perr := strconv.ParseUint(port, 10, 16)
		if perr != nil || n == 0 {
			return cfg, fault.New(fault.Invalid, "domain %q: want a name, and maybe :port", c.Domain)
		}
		cfg.Domain, cfg.DomainPort = host, uint16(n)
	}
	if len(cfg.Domain) > 200 || !domainForm.MatchString(cfg.Domain) {
		return cfg, fault.New(fault.Invalid, "domain %.200q: want a name in lower case, such as sandboxes.example.com", c.Domain)
	}
	return cfg, nil
}

func portRange(text string) (first, last uint16, err error) {
	if text == "" {
		return 0, 0, nil
	}
	a, b, _ := strings.Cut(text, "-")
	low, lerr := strconv.ParseUint(a, 10, 16)
	high, herr := strconv.ParseUint(b, 10, 16)
	if lerr != nil || herr != nil || low == 0 || low > high {
		return 0, 0, fault.New(fault.Invalid, "tunnel_ports %.80q: want first-last, such as 20000-29999", text)
	}
	return uint16(low), uint16(high), nil
}

// checkClear refuses an address that speaks in clear where others can hear it.
func checkClear(key, address string, insecure bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fault.New(fault.Invalid, "%s %q: want host:port", key, address)
	}
	if ip := net.ParseIP(host); insecure || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fault.New(fault.Precondition, "%s %q: others can reach it and would see what goes through in clear; "+
		"give ingress_cert and ingress_key, or --insecure where a proxy in front of it has the TLS", key, address)
}

// reached tells tunnels of sandboxes, and connects them.
type reached struct{ s *Server }

var (
	_ tunnel.Sandboxes = reached{}
	_ tunnel.Dialer    = reached{}
	_ sandbox.Follower = reached{}
)

// Follow implements sandbox.Follower.
func (r reached) Follow(sb sandbox.Sandbox) { r.s.tunnels.Update(tunnelled(sb)) }

// Sandbox implements tunnel.Sandboxes.
func (r reached) Sandbox(ctx context.Context, id string) (tunnel.Sandbox, error) {
	sb, err := r.s.sandboxes.Get(ctx, id)
	return tunnelled(sb), err
}

// DialPort implements tunnel.Dialer.
func (r reached) DialPort(ctx context.Context, id string, port uint16) (route.Conn, error) {
	worker, sb, err := r.s.sandboxes.Reach(ctx, id)
	if errors.Is(err, fault.NotFound) {
		err = fault.New(fault.Precondition, "sandbox %q: is not there any more", id)
	}
	if err == nil && sb.State == sandbox.Paused {
		sb, err = r.s.snapshots.Resume(ctx, id) // whoever uses it wakes it
		worker = sb.WorkerID
	}
	if err != nil {
		return nil, err
	}
	conn, err := r.s.workers.DialPort(ctx, worker, id, port)
	if err != nil {
		return nil, err // a nil *PortConn would be a connection that is not nil
	}
	return conn, nil
}

// tunnelled is what tunnels need to know of a sandbox. Its lists were checked when it was made.
func tunnelled(sb sandbox.Sandbox) tunnel.Sandbox {
	d := &sb.Definition
	t := tunnel.Sandbox{ID: sb.ID, State: tunnel.State(sb.State), NoNetwork: d.Network.Block, CustomDomain: d.CustomDomain}
	for _, p := range d.Ports {
		t.Ports = append(t.Ports, tunnel.Port{Number: p.Port, Kind: tunnel.Kind(p.Kind)})
	}
	if list := d.Network.InboundCIDRs; list != nil {
		t.Restricted = true
		for _, text := range list.Entries {
			if p, err := netip.ParsePrefix(text); err == nil {
				t.Inbound = append(t.Inbound, p.Masked())
			}
		}
	}
	return t
}
