package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network/dns"
	"github.com/skerry-dev/skerry/worker/network/policy"
	"github.com/skerry-dev/skerry/worker/network/rules"
)

// TestDomains tries a list of names from inside, by name, under other names, and by address.
func TestDomains(t *testing.T) {
	w := newWebWorld(t)
	n := w.start()
	e, err := n.AcquireWith(t.Context(), "sb-domains", domains("api.test", "*.api.test", "rebound.test", "meta.test", "self.test"))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("listed", func(t *testing.T) {
		for _, host := range []string{"api.test", "www.api.test"} {
			w.wantPage(e, "https://"+host, "", public+" "+host)
			w.wantPage(e, "http://"+host, "", public+" "+host)
		}
	})
	t.Run("a listed name at another address leads to the name's own", func(t *testing.T) {
		for _, address := range []string{public2, private, metadata, "192.0.2.77"} {
			w.wantPage(e, "https://api.test", address, public+" api.test")
			w.wantPage(e, "http://api.test", address, public+" api.test")
		}
	})
	t.Run("not listed", func(t *testing.T) {
		if got, err := w.look(e, "other.test"); err == nil || !strings.Contains(err.Error(), "NXDOMAIN") {
			t.Errorf("resolved: %q, %v", got, err)
		}
		for _, address := range []string{public, public2} {
			w.wantNoPage(e, "https://other.test", address)
			w.wantNoPage(e, "http://other.test", address)
			w.wantNoPage(e, "https://"+address, address)
			w.wantNoPage(e, "http://"+address, address)
		}
		if w.zone.hasBeenAsked("other.test") {
			t.Error("a name that is not listed was passed on")
		}
	})
	t.Run("listed, and leads to where nobody may go", func(t *testing.T) {
		for _, host := range []string{"rebound.test", "meta.test", "self.test"} {
			w.wantNoPage(e, "https://"+host, "")
			w.wantNoPage(e, "http://"+host, "")
			if address, err := w.look(e, host); err != nil {
				t.Error(err)
			} else {
				wantClosed(t, e, address+":"+echoPort)
			}
		}
	})
	t.Run("other ports", func(t *testing.T) {
		wantClosed(t, e, public2+":"+echoPort)
		if _, err := w.look(e, "api.test"); err != nil {
			t.Fatal(err)
		}
		wantAlive(t, "after its name was asked for", connect(t, e, public+":"+echoPort))
		wantClosed(t, e, public2+":"+echoPort)
	})
	t.Run("quic", func(t *testing.T) { wantNoDatagram(t, w.world, e, public) })
	t.Run("hints", func(t *testing.T) {
		reply, err := ask(e, mdns.TypeHTTPS, "api.test.")
		if err != nil || reply.Rcode != mdns.RcodeSuccess || len(reply.Answer) > 0 {
			t.Errorf("got %v, %v", reply, err)
		}
	})
	t.Run("ipv6", func(t *testing.T) {
		reply, err := ask(e, mdns.TypeAAAA, "api.test.")
		if err != nil || len(reply.Answer) != 1 {
			t.Errorf("got %v, %v", reply, err)
		}
		err = within(e.NetnsPath, func() error {
			_, err := net.DialTimeout("tcp", "[2001:db8::1]:443", closedProbes)
			return err
		})
		if err == nil {
			t.Error("IPv6 leads somewhere")
		}
	})
	t.Run("odd questions", func(t *testing.T) {
		for _, q := range []*mdns.Msg{
			new(mdns.Msg).SetQuestion("192.0.2.1.", mdns.TypeA), new(mdns.Msg).SetQuestion(".", mdns.TypeNS), new(mdns.Msg).SetQuestion("api.test.evil.test.", mdns.TypeTXT),
			{MsgHdr: mdns.MsgHdr{Opcode: mdns.OpcodeNotify}, Question: []mdns.Question{{Name: "api.test.", Qtype: mdns.TypeSOA, Qclass: mdns.ClassINET}}},
			{Question: []mdns.Question{{Name: "api.test.", Qtype: mdns.TypeTXT, Qclass: mdns.ClassCHAOS}}},
		} {
			if reply, err := question(e, q); err == nil && (reply.Rcode == mdns.RcodeSuccess || len(reply.Answer) > 0) {
				t.Errorf("%v: got %v", q, reply)
			}
		}
	})
	t.Run("the spelling of a question is the asker's", func(t *testing.T) {
		reply, err := ask(e, mdns.TypeA, "ApI.tEst.")
		if err != nil || reply.Question[0].Name != "ApI.tEst." || len(reply.Answer) != 1 {
			t.Errorf("got %v, %v", reply, err)
		}
		w.zone.mu.Lock()
		defer w.zone.mu.Unlock()
		if last := w.zone.asked[len(w.zone.asked)-1]; last != "api.test." {
			t.Errorf("passed on as %q", last)
		}
	})
}

// wantNoDatagram sends one to port 443 and another, which arrives, by a way that is open to everybody.
func wantNoDatagram(t *testing.T, w *world, e *container.Endpoint, address string) {
	t.Helper()
	var c net.PacketConn
	if err := within(w.path, func() (err error) {
		c, err = net.ListenPacket("udp4", address+":443")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = within(e.NetnsPath, func() error {
		out, err := net.Dial("udp4", address+":443")
		if err != nil {
			return err
		}
		defer out.Close()
		_, err = out.Write([]byte("quic"))
		return err
	})
	if got := silence(t, c); got != "" {
		t.Errorf("UDP to port 443 arrived: %q", got)
	}
}

func ask(e *container.Endpoint, kind uint16, name string) (*mdns.Msg, error) {
	return question(e, new(mdns.Msg).SetQuestion(name, kind))
}

func question(e *container.Endpoint, q *mdns.Msg) (reply *mdns.Msg, err error) {
	err = within(e.NetnsPath, func() (err error) {
		c := &mdns.Client{Net: "udp", Timeout: dialTimeout}
		reply, _, err = c.Exchange(q, net.JoinHostPort(e.Nameserver, "53"))
		return err
	})
	return reply, err
}

// TestEveryDomain: the list that has every name is still one of names.
func TestEveryDomain(t *testing.T) {
	w := newWebWorld(t)
	n := w.start()
	e, err := n.AcquireWith(t.Context(), "sb-every", domains("*"))
	if err != nil {
		t.Fatal(err)
	}
	w.wantPage(e, "https://other.test", "", public2)
	w.wantPage(e, "http://api.test", "", public)
	w.wantNoPage(e, "http://"+public, public)
	wantAlive(t, "an address of a name", connect(t, e, public2+":"+echoPort))
	wantClosed(t, e, uplinkRouter+":"+echoPort)
}

// TestBothLists: what one of the lists has is open.
func TestBothLists(t *testing.T) {
	w := newWebWorld(t)
	n := w.start()
	e, err := n.AcquireWith(t.Context(), "sb-both", policy.Policy{CIDRs: prefixes(public2 + "/32"), Domains: []string{"api.test"}})
	if err != nil {
		t.Fatal(err)
	}
	w.wantPage(e, "https://api.test", "", public)
	w.wantPage(e, "https://other.test", public2, public2) // directly
	w.wantPage(e, "http://"+public2, public2, public2)
	wantAlive(t, "an address of the list", connect(t, e, public2+":"+echoPort))
	w.wantNoPage(e, "https://other.test", public)
	if _, err := w.look(e, "other.test"); err == nil {
		t.Error("a name that is not listed is answered")
	}
}

// TestDomainChanges changes lists of names while connections are in use.
func TestDomainChanges(t *testing.T) {
	w := newWebWorld(t)
	n := w.start()
	e := acquire(t, n, false)
	set := func(p policy.Policy) {
		t.Helper()
		if err := n.SetPolicy(e, p); err != nil {
			t.Fatal(err)
		}
	}
	direct := connect(t, e, public+":443") // of the time when it was open
	set(domains("api.test", "other.test"))
	if _, err := direct.Write([]byte("x")); err == nil {
		_ = direct.SetReadDeadline(time.Now().Add(closedProbes))
		if n, err := direct.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Error("a connection of the open time goes round the proxy")
		}
	}
	for _, host := range []string{"api.test", "other.test"} {
		if _, err := w.look(e, host); err != nil {
			t.Fatal(err)
		}
	}
	kept, cut := connect(t, e, public+":"+echoPort), connect(t, e, public2+":"+echoPort)
	wantAlive(t, "listed", cut)
	set(domains("api.test"))
	wantAlive(t, "still listed", kept)
	wantCut(t, "not listed any more", cut)
	wantClosed(t, e, public2+":"+echoPort)
	wantAlive(t, "still known", connect(t, e, public+":"+echoPort))
	w.wantNoPage(e, "https://other.test", public2)
	w.wantPage(e, "https://api.test", "", public)
	set(policy.Policy{Block: true})
	wantCut(t, "blocked", kept)
	w.wantNoPage(e, "https://api.test", public)
	set(policy.Policy{})
	w.wantPage(e, "https://other.test", "", public2)
	w.wantPage(e, "http://"+public2, public2, public2)
}

// TestForgotten: an address stays open as long as its name's answer lasts; a connection to it lasts longer.
func TestForgotten(t *testing.T) {
	w := newWebWorld(t)
	n := w.start()
	e, err := n.AcquireWith(t.Context(), "sb-forgotten", domains("api.test"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.look(e, "api.test"); err != nil {
		t.Fatal(err)
	}
	c := connect(t, e, public+":"+echoPort)
	set := learnedSet(t, e.Interface)
	run(t, "nft", "flush", "set", "inet", tableName(instance), set) // as the kernel does in the end
	wantAlive(t, "after its address was forgotten", c)
	wantClosed(t, e, public+":"+echoPort)
}

// learnedSet is the name of an endpoint's set of learned addresses.
func learnedSet(t *testing.T, iface string) string {
	t.Helper()
	for line := range strings.SplitSeq(run(t, "nft", "list", "sets", "inet"), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "set" && strings.HasPrefix(fields[1], "learned_"+iface+"_") {
			return fields[1]
		}
	}
	t.Fatal("no set of learned addresses")
	return ""
}

// TestProxyDown: without the worker's process nothing is open that goes by it.
func TestProxyDown(t *testing.T) {
	w := newWebWorld(t)
	cfg := testConfig(t.TempDir())
	cfg.ExtraRoots, cfg.AuthorityDir = w.roots, t.TempDir()
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	listed, err := n.AcquireWith(t.Context(), "sb-listed", domains("api.test"))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := n.AcquireWith(t.Context(), "sb-secret", withSecret())
	if err != nil {
		t.Fatal(err)
	}
	w.wantPage(listed, "https://api.test", "", public)
	w.wantPage(secret, "https://other.test", "", public2)
	cancel()
	if err := <-ended; err != nil { // its rules are there until it is closed
		t.Fatal(err)
	}
	for _, e := range []*container.Endpoint{listed, secret} {
		for _, address := range []string{public, public2} {
			w.wantNoPage(e, "https://api.test", address)
			w.wantNoPage(e, "https://other.test", address)
		}
		wantNoDatagram(t, w.world, e, public)
	}
	w.wantNoPage(listed, "http://api.test", public)
	w.wantPage(secret, "http://api.test", public, public) // open, and no business of the proxy
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

func withSecret() policy.Policy {
	return policy.Policy{Secrets: []policy.Secret{{Hosts: []string{"api.test"}, Header: "Authorization", Value: policy.NewValue("Bearer hush-hush")}}}
}

// TestSecrets: one host's requests get the secret, all others pass as they are, and nothing else goes to port 443.
func TestSecrets(t *testing.T) {
	w := newWebWorld(t)
	n := w.start()
	e := acquire(t, n, false)
	set := func(p policy.Policy) {
		t.Helper()
		if err := n.SetPolicy(e, p); err != nil {
			t.Fatal(err)
		}
	}
	w.wantPage(e, "https://api.test", "", public+" api.test ")
	set(withSecret())
	w.wantNoPage(e, "https://api.test", "") // its client doesn't trust the installation
	text, err := n.CA()
	if err != nil || !bytes.Contains(text, []byte("CERTIFICATE")) || bytes.Contains(text, []byte("KEY")) {
		t.Fatalf("CA: %s, %v", text, err)
	}
	w.pool.AppendCertsFromPEM(text)
	w.wantPage(e, "https://api.test", "", public+" api.test Bearer hush-hush")
	w.wantPage(e, "https://api.test", public2, public+" api.test Bearer hush-hush")
	w.wantPage(e, "https://other.test", "", public2+" other.test ")
	w.wantPage(e, "http://api.test", "", public+" api.test ") // never without TLS
	w.wantNoPage(e, "https://"+public, public)
	w.wantNoPage(e, "https://rebound.test", "")
	wantNoDatagram(t, w.world, e, public)
	wantAlive(t, "other ports", connect(t, e, public2+":"+echoPort))
	if got, err := w.get(e, "https://other.test", "", dialTimeout); err != nil || strings.Contains(got, "hush") {
		t.Errorf("another host: %q, %v", got, err)
	}
	p := withSecret()
	p.CIDRs, p.Domains = prefixes(public2+"/32"), []string{"api.test"}
	set(p)
	w.wantPage(e, "https://api.test", "", public+" api.test Bearer hush-hush")
	w.wantNoPage(e, "https://other.test", public2) // by name alone, though its address is listed
	wantAlive(t, "a listed address", connect(t, e, public2+":"+echoPort))
	set(policy.Policy{})
	w.wantPage(e, "https://api.test", "", public+" api.test ")
}

// TestAdoptedNames has a proxy go on where another has ended: lists hold, and secrets are added once their values are there again.
func TestAdoptedNames(t *testing.T) {
	w := newWebWorld(t)
	cfg := testConfig(t.TempDir())
	cfg.ExtraRoots, cfg.AuthorityDir = w.roots, t.TempDir()
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	p := withSecret()
	p.Domains = []string{"api.test"}
	e, err := n.AcquireWith(t.Context(), "sb-adopted", p)
	if err != nil {
		t.Fatal(err)
	}
	text, err := n.CA()
	if err != nil {
		t.Fatal(err)
	}
	w.pool.AppendCertsFromPEM(text)
	w.wantPage(e, "https://api.test", "", public+" api.test Bearer hush-hush")
	record, err := json.Marshal(Kept{Endpoint: *e, ContainerID: "sb-adopted", Policy: p})
	if err != nil {
		t.Fatal(err)
	}
	n.Leave(e)
	cancel()
	if err := errors.Join(<-ended, n.Close()); err != nil {
		t.Fatal(err)
	}
	w.wantNoPage(e, "https://api.test", public)

	if n, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	var kept Kept
	if err := json.Unmarshal(record, &kept); err != nil {
		t.Fatal(err)
	}
	adopted := n.Adopt([]Kept{kept})
	if adopted[0].Err != nil {
		t.Fatal(adopted[0].Err)
	}
	runNetwork(t, n)
	acquire(t, n, false) // it runs
	if got, err := w.get(e, "https://api.test", "", dialTimeout); err == nil || !strings.Contains(err.Error(), "502") || strings.Contains(got, "hush") {
		t.Errorf("without the value: %q, %v", got, err)
	}
	w.wantNoPage(e, "https://other.test", public2)
	if err := n.SetPolicy(adopted[0].Endpoint, p); err != nil {
		t.Fatal(err)
	}
	w.wantPage(e, "https://api.test", "", public+" api.test Bearer hush-hush") // by the same authority
}

// TestOpenedPrivate: names lead to private addresses where the operator has opened those.
func TestOpenedPrivate(t *testing.T) {
	w := newWebWorld(t)
	n := startNetwork(t, func(c *Config) { c.ExtraRoots, c.AllowPrivate = w.roots, prefixes(private+"/32") })
	e, err := n.AcquireWith(t.Context(), "sb-private", domains("rebound.test", "meta.test"))
	if err != nil {
		t.Fatal(err)
	}
	w.wantPage(e, "https://rebound.test", "", private)
	wantAlive(t, "another port", connect(t, e, private+":"+echoPort))
	w.wantNoPage(e, "http://meta.test", "")
}

// TestNews: an endpoint that asks for ever new addresses is slowed down, and others are not.
func TestNews(t *testing.T) {
	newWorld(t)
	n := startNetwork(t, nil)
	one, err := n.AcquireWith(t.Context(), "sb-one", domains("*"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := n.AcquireWith(t.Context(), "sb-other", domains("*"))
	if err != nil {
		t.Fatal(err)
	}
	hear := func(e *container.Endpoint, i int) error {
		fresh := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}) //nolint:gosec // the address' bytes
		return gate{n}.Answered(netip.MustParseAddr(e.Address), "a.test.", []dns.Address{{Addr: fresh, TTL: time.Minute}})
	}
	for i := range 100 * rules.LearnRate {
		if err = hear(one, i); err != nil {
			break
		}
	}
	if !errors.Is(err, fault.Exhausted) {
		t.Errorf("nothing bounds it: %v", err)
	}
	if err := hear(other, 0); err != nil {
		t.Errorf("another endpoint: %v", err)
	}
}
