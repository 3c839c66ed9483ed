package ingress_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/ingress"
	"github.com/skerry-dev/skerry/gateway/route"
	"github.com/skerry-dev/skerry/gateway/tunnel"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// memory is a store of tunnels, and knows sandboxes.
type memory struct {
	mu        sync.Mutex
	ways      map[tunnel.WayKey]tunnel.Way
	grants    map[string]tunnel.Grant
	sandboxes map[string]tunnel.Sandbox
}

var (
	_ tunnel.Store     = (*memory)(nil)
	_ tunnel.Sandboxes = (*memory)(nil)
)

func newMemory() *memory {
	return &memory{ways: map[tunnel.WayKey]tunnel.Way{}, grants: map[string]tunnel.Grant{}, sandboxes: map[string]tunnel.Sandbox{}}
}

func (m *memory) Tunnels(context.Context) (ways []tunnel.Way, grants []tunnel.Grant, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.ways {
		ways = append(ways, w)
	}
	for _, g := range m.grants {
		grants = append(grants, g)
	}
	return ways, grants, nil
}

func (m *memory) ChangeTunnels(_ context.Context, changes []tunnel.Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		switch {
		case c.Way != nil:
			m.ways[c.Way.WayKey] = *c.Way
		case c.Close != nil:
			delete(m.ways, *c.Close)
		case c.Grant != nil:
			m.grants[c.Grant.Hash] = *c.Grant
		case c.Expire != "":
			delete(m.grants, c.Expire)
		case c.Revoke != nil:
			m.drop(c.Revoke.SandboxID, c.Revoke.Port)
		default:
			m.drop(c.Forget, 0)
			for k := range m.ways {
				if k.SandboxID == c.Forget {
					delete(m.ways, k)
				}
			}
		}
	}
	return nil
}

func (m *memory) drop(id string, port uint16) {
	for h, g := range m.grants {
		if g.SandboxID == id && (port == 0 || g.Port == port) {
			delete(m.grants, h)
		}
	}
}

func (m *memory) Sandbox(_ context.Context, id string) (tunnel.Sandbox, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sandboxes[id]
	if !ok {
		return s, fault.New(fault.NotFound, "sandbox %q: there is none", id)
	}
	return s, nil
}

// inside are the servers in a sandbox, as its worker would connect to them.
type inside struct {
	mu      sync.Mutex
	servers map[uint16]string
	err     error
	dialled int
}

var _ tunnel.Dialer = (*inside)(nil)

// only hides that a connection is a net.Conn: the one of a worker's link is none.
type only struct{ route.Conn }

func (d *inside) DialPort(ctx context.Context, _ string, port uint16) (route.Conn, error) {
	d.mu.Lock()
	addr, err := d.servers[port], d.err
	d.dialled++
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if addr == "" {
		return nil, fault.New(fault.NotFound, "nothing listens at port %d", port)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return only{conn.(*net.TCPConn)}, nil
}

func (d *inside) put(port uint16, addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.servers[port] = addr
}

// rig is a gateway's tunnels with one sandbox, served by real listeners.
type rig struct {
	t       testing.TB
	store   *memory
	inside  *inside
	ingress *ingress.Server
	tunnels *tunnel.Service
	sandbox tunnel.Sandbox
	stop    func()
}

type options struct {
	tunnel  tunnel.Config
	ingress ingress.Config
	store   *memory
	ports   []tunnel.Port
	change  func(*tunnel.Sandbox)
	now     func() time.Time
	dialer  tunnel.Dialer
	changes tunnel.Store // in place of store, which is behind it
}

func start(t testing.TB, o options) *rig {
	t.Helper()
	r := &rig{t: t, store: o.store, inside: &inside{servers: map[uint16]string{}}}
	if r.store == nil {
		r.store = newMemory()
	}
	var err error
	if r.ingress, err = ingress.New(t.Context(), o.ingress, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if a := r.ingress.Addr(); a != nil {
		o.tunnel.DomainPort = uint16(a.(*net.TCPAddr).Port)
	}
	o.tunnel.Covers = r.ingress.Covers
	if o.changes == nil {
		o.changes = r.store
	}
	if o.dialer == nil {
		o.dialer = r.inside
	}
	r.tunnels = tunnel.New(o.tunnel, tunnel.Deps{
		Sandboxes: r.store, Dialer: o.dialer, Store: o.changes, Listeners: r.ingress, Log: slog.New(slog.DiscardHandler),
		Now: o.now,
	})
	if err := r.tunnels.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	running := lifecycle.NewGroup(context.WithoutCancel(t.Context()))
	running.Go("tunnels", r.tunnels.Run)
	running.Go("ingress", func(ctx context.Context) error { return r.ingress.Run(ctx, r.tunnels) })
	r.stop = sync.OnceFunc(func() {
		if err := running.Stop(); err != nil {
			t.Error(err)
		}
		r.tunnels.Close()
		if err := r.ingress.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { r.stop() })
	r.sandbox = tunnel.Sandbox{ID: ident.New(ident.Sandbox), State: tunnel.Running, Ports: o.ports}
	if o.change != nil {
		o.change(&r.sandbox)
	}
	r.update()
	return r
}

// update tells the service of the sandbox as it is now.
func (r *rig) update() {
	r.store.mu.Lock()
	r.store.sandboxes[r.sandbox.ID] = r.sandbox
	r.store.mu.Unlock()
	r.tunnels.Update(r.sandbox)
}

func (r *rig) list() []tunnel.Tunnel {
	r.t.Helper()
	list, err := r.tunnels.List(r.t.Context(), r.sandbox.ID, time.Minute)
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

// serve has a handler listen at a port in the sandbox, for HTTP/1.1 and HTTP/2 in clear.
func (r *rig) serve(port uint16, h http.HandlerFunc) {
	r.t.Helper()
	ln := listen(r.t)
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: h, Protocols: &p}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(ln) }()
	r.t.Cleanup(func() { server.Close(); <-done })
	r.inside.put(port, ln.Addr().String())
}

// echo has a port send back what it gets until its client has no more, and then says goodbye.
func (r *rig) echo(port uint16) {
	r.t.Helper()
	ln := listen(r.t)
	var conns sync.WaitGroup
	r.t.Cleanup(func() { ln.Close(); conns.Wait() })
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				if _, err := io.Copy(struct{ io.Writer }{c}, c); err == nil {
					io.WriteString(c, "goodbye")
				}
			})
		}
	})
	r.inside.put(port, ln.Addr().String())
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func dial(t testing.TB, host string, port uint16) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}
