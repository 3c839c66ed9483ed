package server_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/server"
	"github.com/skerry-dev/skerry/gateway/workerlink"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/link"
)

// host is a worker's end, by hand, with one sandbox. Port 8080 of that answers HTTP.
type host struct {
	workerv1connect.UnimplementedWorkerServiceHandler
	workerv1connect.UnimplementedSandboxServiceHandler
	id, sandbox string
	definition  sandbox.Definition
}

func (h *host) Describe(context.Context, *connect.Request[workerv1.DescribeRequest]) (*connect.Response[workerv1.DescribeResponse], error) {
	return connect.NewResponse(&workerv1.DescribeResponse{WorkerId: h.id, Hostname: "host", Version: "1", CpuMilli: 1000, MemoryMib: 1000}), nil
}

func (h *host) WatchSandboxes(ctx context.Context, _ *connect.Request[workerv1.WatchSandboxesRequest], s *connect.ServerStream[workerv1.WatchSandboxesResponse]) error {
	record, err := json.Marshal(sandbox.Sandbox{ID: h.sandbox, AppID: ident.New(ident.App), Definition: h.definition, State: sandbox.Running})
	if err != nil {
		return err
	}
	status := &workerv1.SandboxStatus{
		SandboxId: h.sandbox, State: skerryv1.SandboxState_SANDBOX_STATE_RUNNING, Record: record, ExpiresAt: timestamppb.New(time.Now().Add(time.Hour)),
	}
	if err := errors.Join(s.Send(&workerv1.WatchSandboxesResponse{Sandbox: status}), s.Send(&workerv1.WatchSandboxesResponse{Complete: true})); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// serveData serves what comes over the data link.
func (h *host) serveData(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/sandboxes/"+h.sandbox+"/ports/8080" {
		w.Header().Set(workerlink.ReasonHeader, "nothing listens at "+r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	if rc.Flush() != nil {
		return
	}
	buf := make([]byte, 1000)
	n, err := r.Body.Read(buf)
	if err != nil {
		return
	}
	text := fmt.Sprintf("inside: %q", strings.SplitN(string(buf[:n]), "\r\n", 2)[0])
	fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text)
}

// join links the host to a gateway, by both of its links, until the function that it returns is called.
func (h *host) join(t *testing.T, g *gateway, token identity.Credential) (leave func()) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(workerv1connect.NewWorkerServiceHandler(h))
	mux.Handle(workerv1connect.NewSandboxServiceHandler(h))
	ctx, cancel := context.WithCancel(context.Background())
	var links sync.WaitGroup
	serve := func(query string, handler http.Handler) {
		u, err := url.Parse(g.URL() + workerlink.Path + query)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		local, err := g.LocalTLS()
		if err != nil {
			t.Fatal(err)
		}
		if local != nil {
			conn = tls.Client(conn, local)
		}
		header := http.Header{"Authorization": {"Bearer " + token.Encode()}, workerlink.WorkerHeader: {h.id}}
		turned, err := link.Dial(t.Context(), conn, &http.Request{Method: http.MethodGet, URL: u, Header: header})
		if err != nil {
			t.Fatal(err)
		}
		links.Go(func() { _ = link.Serve(ctx, turned, handler) }) // it ends with an error whoever ends it
	}
	serve("", mux)
	<-g.WorkerJoined()
	serve("?kind=data", http.HandlerFunc(h.serveData))
	leave = sync.OnceFunc(func() {
		cancel()
		links.Wait()
	})
	t.Cleanup(leave)
	return leave
}

func fetched(t *testing.T, url, host string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(res.StatusCode, " ", string(text))
}

func TestTunnelsOverTheWorkersLink(t *testing.T) {
	dir := t.TempDir()
	g, stop := startIn(t, dir, nil)
	token, err := g.Tokens().Create(t.Context(), "host", identity.Worker)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{id: ident.New(ident.Worker), sandbox: ident.New(ident.Sandbox), definition: sandbox.Definition{
		Ports: []sandbox.Port{{Port: 8080, Kind: sandbox.Encrypted}},
	}}
	leave := h.join(t, g, token)
	tunnels := skerryv1connect.NewTunnelServiceClient(g.http, g.URL())
	limit := durationpb.New(time.Minute)
	listed := listTunnels(t, tunnels, h.sandbox, limit)
	if len(listed) != 1 || listed[0].GetPort() != 8080 {
		t.Fatalf("tunnels: %v", listed)
	}
	if got := fetched(t, listed[0].GetUrl()+"/x", ""); got != `200 inside: "GET /x HTTP/1.1"` {
		t.Error(got)
	}
	signed, err := tunnels.SignURL(t.Context(), connect.NewRequest(&skerryv1.SignURLRequest{SandboxId: h.sandbox, Port: 9000}))
	if err != nil {
		t.Fatal(err)
	}
	if got := fetched(t, signed.Msg.GetUrl(), ""); !strings.HasPrefix(got, "502 ") || !strings.Contains(got, "nothing listens at 9000") || strings.Contains(got, h.sandbox) {
		t.Errorf("where nothing listens: %s", got)
	}
	for name, host := range map[string]string{"unknown": "8080-aaaaaaaaaaaaaaaaaaaaaaaaaa.localhost", "none of ours": "www.localhost"} {
		want := "404 "
		if name == "none of ours" {
			want = "401 " // it is the gateway's, which asks for a token
		}
		if got := fetched(t, g.URL()+"/x", host); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
	leave()
	stop()

	again, stop := startIn(t, dir, nil)
	defer stop()
	got := make(chan string, 1)
	go func() { got <- fetched(t, listed[0].GetUrl()+"/y", "") }() // it waits for the worker
	h.join(t, again, token)
	if text := <-got; text != `200 inside: "GET /y HTTP/1.1"` {
		t.Errorf("after the restart: %s", text)
	}
}

func listTunnels(t *testing.T, c skerryv1connect.TunnelServiceClient, id string, limit *durationpb.Duration) []*skerryv1.Tunnel {
	t.Helper()
	for {
		res, err := c.ListTunnels(t.Context(), connect.NewRequest(&skerryv1.ListTunnelsRequest{SandboxId: id, Limit: limit}))
		if err == nil {
			return res.Msg.GetTunnels()
		}
		if connect.CodeOf(err) != connect.CodeUnavailable { // the gateway has just started
			t.Fatal(err)
		}
	}
}

func TestTunnelRequestsAreChecked(t *testing.T) {
	g := start(t, nil)
	c := skerryv1connect.NewTunnelServiceClient(g.http, g.URL())
	id := ident.New(ident.Sandbox)
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"list: id": func() error {
			_, err := c.ListTunnels(ctx, connect.NewRequest(&skerryv1.ListTunnelsRequest{SandboxId: "sb-1"}))
			return err
		},
		"list: limit": func() error {
			_, err := c.ListTunnels(ctx, connect.NewRequest(&skerryv1.ListTunnelsRequest{SandboxId: id, Limit: durationpb.New(time.Hour)}))
			return err
		},
		"open: port": func() error {
			_, err := c.OpenTunnel(ctx, connect.NewRequest(&skerryv1.OpenTunnelRequest{SandboxId: id, Port: &skerryv1.PortDefinition{Port: 65536}}))
			return err
		},
		"open: no port": func() error {
			_, err := c.OpenTunnel(ctx, connect.NewRequest(&skerryv1.OpenTunnelRequest{SandboxId: id}))
			return err
		},
		"open: kind": func() error {
			_, err := c.OpenTunnel(ctx, connect.NewRequest(&skerryv1.OpenTunnelRequest{SandboxId: id, Port: &skerryv1.PortDefinition{Port: 1, Kind: 99}}))
			return err
		},
		"close: port": func() error {
			_, err := c.CloseTunnel(ctx, connect.NewRequest(&skerryv1.CloseTunnelRequest{SandboxId: id}))
			return err
		},
		"token: port": func() error {
			_, err := c.CreateConnectToken(ctx, connect.NewRequest(&skerryv1.CreateConnectTokenRequest{SandboxId: id, Port: 70000}))
			return err
		},
		"token: metadata": func() error {
			_, err := c.CreateConnectToken(ctx, connect.NewRequest(&skerryv1.CreateConnectTokenRequest{SandboxId: id, UserMetadata: "a\r\nB: c"}))
			return err
		},
		"sign: ttl": func() error {
			_, err := c.SignURL(ctx, connect.NewRequest(&skerryv1.SignURLRequest{SandboxId: id, Port: 1, Ttl: durationpb.New(8 * 24 * time.Hour)}))
			return err
		},
		"sign: no time": func() error {
			_, err := c.SignURL(ctx, connect.NewRequest(&skerryv1.SignURLRequest{SandboxId: id, Port: 1, Ttl: durationpb.New(0)}))
			return err
		},
		"revoke: port": func() error {
			_, err := c.RevokeURLs(ctx, connect.NewRequest(&skerryv1.RevokeURLsRequest{SandboxId: id, Port: 65536}))
			return err
		},
	} {
		if err := call(); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	nobody := skerryv1connect.NewTunnelServiceClient(g.client(t, ""), g.URL())
	if _, err := nobody.ListTunnels(ctx, connect.NewRequest(&skerryv1.ListTunnelsRequest{SandboxId: id})); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("without a token: %v", err)
	}
}

func TestIngressSettingsAreChecked(t *testing.T) {
	for says, c := range map[string]server.IngressConfig{
		"want a name in lower case": {Domain: "Example.com"},
		"want a name, and maybe":    {Domain: "example.com:x"},
		"needs the domain":          {Listen: "127.0.0.1:0"},
		"go in pairs":               {Domain: "example.com", Listen: "127.0.0.1:0", Certs: []string{"a"}},
		"is for ingress_listen":     {Domain: "example.com", Certs: []string{"a"}, Keys: []string{"b"}},
		"in clear":                  {Domain: "example.com", Listen: "0.0.0.0:0"},
		"no such file":              {Domain: "example.com", Listen: "127.0.0.1:0", Certs: []string{"/nowhere/a"}, Keys: []string{"/nowhere/b"}},
		"first-last":                {Ports: "9-8"},
		"range of addresses":        {TrustedProxies: []string{"10.0.0.1"}},
	} {
		g := &gateway{}
		cfg := server.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Ingress: c}
		var err error
		if g.Server, err = server.New(t.Context(), cfg, nil, slog.New(slog.DiscardHandler)); err == nil {
			g.Close()
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}

// TestTunnelsOfADomain has host names served at an address of their own and at the one port, each with TLS.
func TestTunnelsOfADomain(t *testing.T) {
	cert, key := certificate(t)
	for name, change := range map[string]func(*server.Config){
		"an address of their own": func(c *server.Config) {
			c.Ingress = server.IngressConfig{Domain: "boxes.example", Listen: "127.0.0.1:0", Certs: []string{cert}, Keys: []string{key}}
		},
		"the one port": func(c *server.Config) {
			c.TLSCert, c.TLSKey, c.Ingress = cert, key, server.IngressConfig{Domain: "boxes.example"}
		},
		"another port in URLs": func(c *server.Config) {
			c.Ingress = server.IngressConfig{Domain: "boxes.example:443", Listen: "127.0.0.1:0", Certs: []string{cert}, Keys: []string{key}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, change)
			token, err := g.Tokens().Create(t.Context(), "host", identity.Worker)
			if err != nil {
				t.Fatal(err)
			}
			h := &host{id: ident.New(ident.Worker), sandbox: ident.New(ident.Sandbox), definition: sandbox.Definition{
				Ports: []sandbox.Port{{Port: 8080, Kind: sandbox.Encrypted}},
			}}
			h.join(t, g, token)
			tunnels := skerryv1connect.NewTunnelServiceClient(g.http, g.URL())
			listed := listTunnels(t, tunnels, h.sandbox, durationpb.New(time.Minute))
			at, err := url.Parse(listed[0].GetUrl())
			if err != nil || at.Scheme != "https" || !strings.HasSuffix(at.Hostname(), ".boxes.example") || (at.Port() == "") != (name == "another port in URLs") {
				t.Fatalf("listed at %s: %v", listed[0].GetUrl(), err)
			}
			if at.Port() == "" {
				return
			}
			transport := &http.Transport{
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // whose certificate it is, is not what this is about
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+at.Port())
				},
			}
			defer transport.CloseIdleConnections()
			res, err := (&http.Client{Transport: transport}).Get(at.String() + "/z")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if text, err := io.ReadAll(res.Body); err != nil || string(text) != `inside: "GET /z HTTP/1.1"` {
				t.Errorf("got %q, %v", text, err)
			}
		})
	}
}
