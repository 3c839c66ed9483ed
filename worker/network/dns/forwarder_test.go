package dns

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/skerry-dev/skerry/internal/fault"
)

// server is an upstream on loopback that answers each query with reply, or not at all if that is nil.
func server(t *testing.T, reply func(q *dns.Msg) *dns.Msg) string {
	t.Helper()
	p, l := listenBoth(t)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if m := reply(q); m != nil {
			_ = w.WriteMsg(m)
		}
	})
	for _, s := range []*dns.Server{{PacketConn: p, Handler: handler}, {Listener: l, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.ActivateAndServe(); err != nil {
				t.Error(err)
			}
		})
		<-started
		t.Cleanup(func() {
			if err := s.Shutdown(); err != nil {
				t.Error(err)
			}
			wg.Wait()
		})
	}
	return p.LocalAddr().String()
}

// listenBoth listens on a port that neither transport has anything on.
func listenBoth(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for {
		p, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp4", p.LocalAddr().String())
		if err == nil {
			return p, l
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// says returns a reply that answers with one TXT record.
func says(text string) func(*dns.Msg) *dns.Msg {
	return func(q *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{text}}}
		return m
	}
}

func fails(code int) func(*dns.Msg) *dns.Msg {
	return func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, code) }
}

func silent(*dns.Msg) *dns.Msg { return nil }

// start runs a forwarder and returns its address; stop ends it and waits.
func start(t *testing.T, cfg Config) (address string, stop func()) {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	for {
		p, l := listenBoth(t)
		cfg.Address = netip.MustParseAddrPort(p.LocalAddr().String())
		if err := errors.Join(p.Close(), l.Close()); err != nil {
			t.Fatal(err)
		}
		f, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		listening, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- f.Run(ctx, func() { close(listening) }) }()
		select {
		case <-listening:
		case err := <-ended:
			cancel()
			if errors.Is(err, syscall.EADDRINUSE) { // somebody was quicker
				continue
			}
			t.Fatal(err)
		}
		stop = sync.OnceFunc(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(stop)
		return cfg.Address.String(), stop
	}
}

func ask(t *testing.T, network, address string, q *dns.Msg) *dns.Msg {
	t.Helper()
	c := &dns.Client{Net: network, Timeout: 10 * time.Second}
	reply, _, err := c.Exchange(q, address)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func question() *dns.Msg { return new(dns.Msg).SetQuestion("name.example.", dns.TypeTXT) }

func text(m *dns.Msg) string {
	var s []string
	for _, rr := range m.Answer {
		if r, ok := rr.(*dns.TXT); ok {
			s = append(s, r.Txt...)
		}
	}
	return strings.Join(s, "")
}

func TestFailover(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]func(*dns.Msg) *dns.Msg{
		"silent": silent, "fails": fails(dns.RcodeServerFailure), "refuses": fails(dns.RcodeRefused),
		"answers another question": func(q *dns.Msg) *dns.Msg {
			m := says("forged")(q)
			m.Question[0].Name = "other.example."
			return m
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			counted := func(q *dns.Msg) *dns.Msg { asked.Add(1); return first(q) }
			address, stop := start(t, Config{Upstreams: []string{server(t, counted), server(t, says("second"))}})
			for range 3 {
				if got := text(ask(t, "udp", address, question())); got != "second" {
					t.Errorf("got %q", got)
				}
			}
			stop()
			if n := asked.Load(); n != 1 {
				t.Errorf("the first server was asked %d times, want once", n)
			}
		})
	}
}

func TestAllFail(t *testing.T) {
	t.Parallel()
	address, _ := start(t, Config{Upstreams: []string{server(t, fails(dns.RcodeRefused)), server(t, silent)}})
	if got := ask(t, "udp", address, question()); got.Rcode != dns.RcodeRefused {
		t.Errorf("one refuses: got %s", dns.RcodeToString[got.Rcode])
	}
	address, _ = start(t, Config{Upstreams: []string{server(t, silent)}})
	if got := ask(t, "tcp", address, question()); got.Rcode != dns.RcodeServerFailure {
		t.Errorf("all silent: got %s", dns.RcodeToString[got.Rcode])
	}
}

// TestPassesOn: what is not an error of the server is the asker's, such as a name that does not exist; and EDNS works end to end.
func TestPassesOn(t *testing.T) {
	t.Parallel()
	address, _ := start(t, Config{Upstreams: []string{server(t, fails(dns.RcodeNameError))}})
	q := question()
	if got := ask(t, "udp", address, q); got.Rcode != dns.RcodeNameError || got.Id != q.Id {
		t.Errorf("got %v", got)
	}
	long := strings.Repeat("0123456789", 20)
	address, _ = start(t, Config{Upstreams: []string{server(t, func(q *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		for range 10 {
			m.Answer = append(m.Answer, says(long)(q).Answer...)
		}
		if opt := q.IsEdns0(); opt != nil {
			m.SetEdns0(opt.UDPSize(), opt.Do())
			m.Truncate(int(opt.UDPSize()))
		} else {
			m.Truncate(dns.MinMsgSize)
		}
		return m
	})}})
	if got := ask(t, "udp", address, question()); !got.Truncated {
		t.Error("without EDNS: want it truncated")
	}
	q = question().SetEdns0(4096, true)
	if got := ask(t, "udp", address, q); got.Truncated || len(got.Answer) != 10 || got.IsEdns0() == nil || !got.IsEdns0().Do() {
		t.Errorf("with EDNS: got %d records, truncated %t, opt %v", len(got.Answer), got.Truncated, got.IsEdns0())
	}
}

func TestResolvConfChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	u, err := newUpstreams(nil, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.list(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
	for content, want := range map[string]string{
		"nameserver 192.0.2.53\n": "192.0.2.53:53", "# a comment\nnameserver 192.0.2.54\nnameserver fd00::53\n": "192.0.2.54:53 [fd00::53]:53",
		"search example\n": "127.0.0.1:53",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := u.list(); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: got %v, %v; want %s", content, got, err, want)
		}
	}
	if _, err := newUpstreams([]string{"192.0.2.1", "nonsense"}, ""); !errors.Is(err, fault.Invalid) {
		t.Errorf("nonsense: got %v", err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	a, one, other := newAskers(), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	var pending []func()
	for range AskerPending {
		done, ok := a.admit(one)
		if !ok {
			t.Fatal("refused within the limit")
		}
		pending = append(pending, done)
	}
	if _, ok := a.admit(one); ok {
		t.Error("no limit on what is under way")
	}
	if _, ok := a.admit(other); !ok {
		t.Error("one asker keeps another out")
	}
	for _, done := range pending {
		done()
	}
	admitted := 0
	for range AskerBurst + AskerRate {
		if done, ok := a.admit(one); ok {
			admitted++
			done()
		}
	}
	if admitted > AskerBurst+AskerRate/2 {
		t.Errorf("%d queries at once, want about %d", admitted, AskerBurst)
	}
	a.forget(one)
	if len(a.byAddr) != 1 {
		t.Errorf("%d askers are known, want 1", len(a.byAddr))
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	address, _ := start(t, Config{Upstreams: []string{server(t, says("hello"))}})
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for range AskerStreams + 1 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	last := open[AskerStreams]
	if err := last.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := last.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("a connection beyond the limit stays open: %v", err)
	}
	if got := text(ask(t, "udp", address, question())); got != "hello" {
		t.Errorf("over udp meanwhile: got %q", got)
	}
}

// TestStopIsPrompt: a query that nobody answers doesn't hold up the end.
func TestStopIsPrompt(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, MaxAttempts)
	address, stop := start(t, Config{Upstreams: []string{server(t, func(*dns.Msg) *dns.Msg { asked <- struct{}{}; return nil })}})
	c, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	packed, err := question().Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(packed); err != nil {
		t.Fatal(err)
	}
	<-asked
	begin := time.Now()
	stop()
	if took := time.Since(begin); took > AttemptTimeout/2 {
		t.Errorf("stopping took %s", took)
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	l, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := New(Config{Address: netip.MustParseAddrPort(l.LocalAddr().String())})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Run(t.Context(), func() {}); err == nil || !strings.Contains(err.Error(), "name server of the host") {
		t.Errorf("got %v", err)
	}
}
