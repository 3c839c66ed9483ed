// Package dns is the forwarder that containers and image builds ask for names.
//
// It listens on one address of the host, over UDP and TCP, and passes queries on to the host's own servers, over the same transport: a
// truncated answer reaches the asker as one, who then asks over TCP. It does not cache; an answer that names a private address is passed on,
// and the address stays closed by the rules. Which names an asker may have is for its Gate to say. What one asker and all together may have
// under way is bounded.
package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// Limits of the forwarder.
const (
	// AttemptTimeout is how long one server may take to answer.
	AttemptTimeout = 2 * time.Second
	// MinAttempts is how often a query is sent at least, though there be fewer servers: UDP loses packets.
	MinAttempts = 2
	// MaxAttempts is how often it is sent at most.
	MaxAttempts = 4
)

// Config is what a forwarder needs.
type Config struct {
	// Address is where it listens; it must be an address of the host when Run begins.
	Address netip.AddrPort
	// Upstreams are the servers to ask, as "address" or "address:port"; those of ResolvConf if empty.
	Upstreams []string
	// ResolvConf is the file that names the servers otherwise; it is read again when it has changed. Default DefaultResolvConf.
	ResolvConf string
	// Gate says which names askers may have; all of them if nil.
	Gate Gate
	// Log hears when servers stop answering and when they answer again.
	Log *slog.Logger
}

// Forwarder answers queries. Its methods may be called concurrently.
type Forwarder struct {
	cfg       Config
	upstreams *upstreams
	askers    *askers
	preferred atomic.Int64 // index of the server that answered last
	silent    atomic.Bool  // no server answers
}

// New returns a forwarder that does not listen yet. Errors: fault.Invalid for an upstream that is no address.
func New(cfg Config) (*Forwarder, error) {
	up, err := newUpstreams(cfg.Upstreams, cfg.ResolvConf)
	if err != nil {
		return nil, err
	}
	return &Forwarder{cfg: cfg, upstreams: up, askers: newAskers()}, nil
}

// Forget drops what is kept about an asker whose address is given up.
func (f *Forwarder) Forget(asker netip.Addr) { f.askers.forget(asker) }

// Run listens and answers until ctx ends, then returns nil. It calls listening once both sockets are open.
func (f *Forwarder) Run(ctx context.Context, listening func()) error {
	packets, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(f.cfg.Address))
	if err != nil {
		return listenError(f.cfg.Address, err)
	}
	streams, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(f.cfg.Address))
	if err != nil {
		return errors.Join(listenError(f.cfg.Address, err), packets.Close())
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { f.answer(ctx, w, q) })
	group := lifecycle.NewGroup(ctx)
	serve(group, "dns over udp", &dns.Server{PacketConn: packets, Handler: handler, UDPSize: dns.DefaultMsgSize})
	serve(group, "dns over tcp", &dns.Server{Listener: &boundedListener{Listener: streams, askers: f.askers}, Handler: handler})
	listening()
	return group.Wait()
}

func listenError(at netip.AddrPort, err error) error {
	return fmt.Errorf("dns forwarder: listen on %s: %w; a name server of the host that listens on every address has to be told to leave this one out",
		at, err)
}

// serve runs a server in the group and shuts it down at the group's end.
func serve(group *lifecycle.Group, name string, server *dns.Server) {
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	ended := make(chan struct{})
	group.Go(name, func(context.Context) error {
		defer close(ended)
		return server.ActivateAndServe()
	})
	group.Go(name+" shutdown", func(ctx context.Context) error {
		select {
		case <-ended:
			return nil
		case <-started:
		}
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return server.Shutdown()
		}
	})
}

// answer handles one query. A query beyond the asker's limits gets no answer, as a lost packet would: its resolver tries again later.
func (f *Forwarder) answer(ctx context.Context, w dns.ResponseWriter, q *dns.Msg) {
	asker, network := peer(w.RemoteAddr())
	done, ok := f.askers.admit(asker)
	if !ok {
		if network == "tcp" {
			_ = w.Close() // the asker sees it; there is nobody else to tell
		}
		return
	}
	defer done()
	reply := f.gated(ctx, asker, network, q)
	if reply == nil {
		reply = f.resolve(ctx, network, q)
	}
	if network == "udp" {
		reply.Truncate(answerSize(q))
	}
	_ = w.WriteMsg(reply) // an asker that has gone away is no fault of ours
}

// resolve asks the servers in turn, the one that answered last first. It always returns a reply: the servers', or SERVFAIL.
func (f *Forwarder) resolve(ctx context.Context, network string, q *dns.Msg) *dns.Msg {
	servers, err := f.upstreams.list()
	if err == nil {
		var reply *dns.Msg
		if reply, err = f.ask(ctx, servers, network, q); err == nil {
			f.heard(true, nil)
			reply.Id = q.Id
			return reply
		}
	}
	if ctx.Err() == nil {
		f.heard(false, err)
	}
	return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
}

func (f *Forwarder) ask(ctx context.Context, servers []string, network string, q *dns.Msg) (*dns.Msg, error) {
	client := &dns.Client{Net: network, Timeout: AttemptTimeout}
	first := int(f.preferred.Load())
	var refused *dns.Msg
	var errs []error
	for n := range min(max(len(servers), MinAttempts), MaxAttempts) {
		i := (first + n) % len(servers)
		query := q.Copy()
		query.Id = dns.Id()
		reply, err := exchange(ctx, client, query, servers[i])
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("server %s: %w", servers[i], err))
		case !sameQuestion(q, reply):
			errs = append(errs, fmt.Errorf("server %s: answered another question", servers[i]))
		case reply.Rcode == dns.RcodeServerFailure || reply.Rcode == dns.RcodeRefused:
			refused = reply
		default:
			f.preferred.Store(int64(i))
			return reply, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	if refused != nil {
		return refused, nil
	}
	return nil, errors.Join(errs...)
}

// exchange sends one query and waits for its answer. It ends at once when ctx does, which the library's own exchange doesn't.
func exchange(ctx context.Context, client *dns.Client, query *dns.Msg, server string) (*dns.Msg, error) {
	conn, err := client.DialContext(ctx, server)
	if err != nil {
		return nil, err
	}
	closed := sync.OnceValue(conn.Close)
	stop := context.AfterFunc(ctx, func() { _ = closed() }) // ends the read below; its error is ctx's doing
	defer stop()
	reply, _, err := client.ExchangeWithConnContext(ctx, query, conn)
	return reply, errors.Join(err, closed())
}

// heard logs when the servers fall silent and when they are back, not every failed query.
func (f *Forwarder) heard(answered bool, err error) {
	if f.silent.Swap(!answered) == !answered {
		return
	}
	if answered {
		f.cfg.Log.Info("dns servers answer again")
		return
	}
	f.cfg.Log.Warn("no dns server answers: containers can't resolve names", "err", err)
}

func sameQuestion(q, reply *dns.Msg) bool {
	if len(q.Question) != len(reply.Question) {
		return len(reply.Question) == 0 && reply.Rcode != dns.RcodeSuccess
	}
	for i := range q.Question {
		a, b := q.Question[i], reply.Question[i]
		if a.Qtype != b.Qtype || a.Qclass != b.Qclass || !strings.EqualFold(a.Name, b.Name) {
			return false
		}
	}
	return true
}

// answerSize is how large a datagram the asker takes.
func answerSize(q *dns.Msg) int {
	if opt := q.IsEdns0(); opt != nil {
		return max(int(opt.UDPSize()), dns.MinMsgSize)
	}
	return dns.MinMsgSize
}

// peer returns the asker's address and the transport's name.
func peer(a net.Addr) (netip.Addr, string) {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap(), "udp"
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap(), "tcp"
	default:
		return netip.Addr{}, a.Network()
	}
}
