package dns

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/skerry-dev/skerry/internal/fault"
)

// DefaultResolvConf names the host's servers.
const DefaultResolvConf = "/etc/resolv.conf"

// upstreams is the list of servers to ask, fixed or from a file.
type upstreams struct {
	path string // empty if fixed

	mu      sync.Mutex
	servers []string
	changed time.Time // modification time and size of the file as read
	size    int64
}

func newUpstreams(fixed []string, path string) (*upstreams, error) {
	if len(fixed) == 0 {
		if path == "" {
			path = DefaultResolvConf
		}
		return &upstreams{path: path}, nil
	}
	u := &upstreams{}
	for _, s := range fixed {
		server, err := hostPort(s)
		if err != nil {
			return nil, err
		}
		u.servers = append(u.servers, server)
	}
	return u, nil
}

func hostPort(s string) (string, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return net.JoinHostPort(addr.String(), "53"), nil
	}
	if _, err := netip.ParseAddrPort(s); err != nil {
		return "", fault.New(fault.Invalid, "dns server %q: neither an address nor address:port", s)
	}
	return s, nil
}

// list returns the servers as address:port, at least one. A file that has changed is read again: a laptop's servers change with its
// network.
func (u *upstreams) list() ([]string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.path == "" {
		return u.servers, nil
	}
	info, err := os.Stat(u.path)
	if err != nil {
		return nil, fmt.Errorf("dns servers of the host: %w", err)
	}
	if u.servers != nil && info.ModTime().Equal(u.changed) && info.Size() == u.size {
		return u.servers, nil
	}
	conf, err := dns.ClientConfigFromFile(u.path)
	if err != nil {
		return nil, fmt.Errorf("dns servers of the host: read %s: %w", u.path, err)
	}
	servers := make([]string, 0, len(conf.Servers))
	for _, s := range conf.Servers {
		servers = append(servers, net.JoinHostPort(s, conf.Port))
	}
	if len(servers) == 0 {
		servers = []string{"127.0.0.1:53"} // as resolv.conf(5) has it
	}
	u.servers, u.changed, u.size = servers, info.ModTime(), info.Size()
	return servers, nil
}
