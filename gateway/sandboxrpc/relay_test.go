package sandboxrpc_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/sandboxrpc"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
)

// world has one sandbox, by hand, and takes what the relay sends to it.
type world struct {
	box     sandbox.Sandbox
	link    http.Handler
	err     error
	resumed bool
	scope   *identity.Scope
}

func (w *world) Locate(_ context.Context, id string) (string, sandbox.Sandbox, error) {
	if id != w.box.ID {
		return "", sandbox.Sandbox{}, fault.New(fault.NotFound, "sandbox %q: there is none", id)
	}
	return "wk", w.box, w.err
}

func (w *world) Resume(context.Context, string) (sandbox.Sandbox, error) {
	w.resumed = true
	return w.box, nil
}

func (w *world) Data(context.Context, string) (http.RoundTripper, error) { return w, nil }

// RoundTrip is the data link: a real server, whatever the URL's host.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	server := httptest.NewServer(w.link)
	r = r.Clone(r.Context())
	r.URL.Host = strings.TrimPrefix(server.URL, "http://")
	res, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		res.Body = closing{res.Body, server.Close}
	}
	return res, err
}

type closing struct {
	io.ReadCloser
	close func()
}

func (c closing) Close() error {
	err := c.ReadCloser.Close()
	c.close()
	return err
}

func newWorld(t *testing.T) (*world, string) {
	t.Helper()
	w := &world{box: sandbox.Sandbox{ID: ident.New(ident.Sandbox), AppID: ident.New(ident.App), State: sandbox.Running}}
	relay := sandboxrpc.NewRelay(w, w, w, slog.New(slog.DiscardHandler))
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.scope != nil {
			r = r.WithContext(identity.WithScope(r.Context(), *w.scope))
		}
		relay.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	return w, server.URL
}

type processes struct {
	skerryv1connect.UnimplementedProcessServiceHandler
	seen http.Header
}

func (p *processes) StartProcess(_ context.Context, req *connect.Request[skerryv1.StartProcessRequest], stream *connect.ServerStream[skerryv1.StartProcessResponse]) error {
	p.seen = req.Header()
	for range 3 {
		if err := stream.Send(&skerryv1.StartProcessResponse{Event: &skerryv1.ProcessEvent{}}); err != nil {
			return err
		}
	}
	return connect.NewError(connect.CodeNotFound, io.EOF)
}

func TestRelay(t *testing.T) {
	w, url := newWorld(t)
	p := &processes{}
	_, w.link = skerryv1connect.NewProcessServiceHandler(p)
	mux := http.NewServeMux()
	mux.Handle("/sandboxes/"+w.box.ID+"/", http.StripPrefix("/sandboxes/"+w.box.ID, w.link))
	w.link = mux
	for _, opts := range [][]connect.ClientOption{nil, {connect.WithProtoJSON()}, {connect.WithGRPCWeb()}} {
		client := skerryv1connect.NewProcessServiceClient(http.DefaultClient, url+"/sandboxes/"+w.box.ID, opts...)
		req := connect.NewRequest(&skerryv1.StartProcessRequest{ProcessId: "p"})
		req.Header().Set("Authorization", "Bearer secret")
		req.Header().Set("Cookie", "secret")
		req.Header().Set("X-Skerry-Container", "ta-secret")
		stream, err := client.StartProcess(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for stream.Receive() {
			n++
		}
		if n != 3 || connect.CodeOf(stream.Err()) != connect.CodeNotFound {
			t.Errorf("%d frames, %v", n, stream.Err())
		}
		for name, values := range p.seen {
			if strings.Contains(strings.Join(values, " "), "secret") {
				t.Errorf("the sandbox was shown %s", name)
			}
		}
	}
}

func TestRelayRefuses(t *testing.T) {
	w, url := newWorld(t)
	w.link = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Set-Cookie", "a=b")
		rw.Header().Set("Location", "http://elsewhere")
		rw.Header().Set("Content-Type", "application/proto")
	})
	const method = "/skerry.v1.ProcessService/ListProcesses"
	post := func(path string) (int, http.Header, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header, string(body)
	}
	own := "/sandboxes/" + w.box.ID
	for path, code := range map[string]string{
		own + "/skerry.guest.v1.SandboxService/Configure": "unimplemented",
		own + "/ports/80":                                 "unimplemented",
		own + method + "/more":                            "unimplemented",
		own + "/sidecars/a%20b" + method:                  "invalid_argument",
		own + "/../" + w.box.ID + method:                  "unimplemented",
		"/sandboxes/sb-1" + method:                        "invalid_argument",
		"/sandboxes/" + ident.New(ident.Sandbox) + method: "not_found",
	} {
		if _, _, body := post(path); !strings.Contains(body, code) {
			t.Errorf("%s: %s, want %s", path, body, code)
		}
	}
	if status, h, _ := post(own + "/sidecars/one" + method); status != http.StatusOK || h.Get("Set-Cookie")+h.Get("Location") != "" {
		t.Errorf("%d with %v", status, h)
	}
	w.box.State = sandbox.Paused
	if status, _, _ := post(own + method); status != http.StatusOK || !w.resumed {
		t.Errorf("a paused one: %d", status)
	}
	w.scope = &identity.Scope{AppID: ident.New(ident.App)}
	if _, _, body := post(own + method); !strings.Contains(body, "permission_denied") {
		t.Errorf("another app's: %s", body)
	}
	w.scope, w.err = nil, fault.New(fault.Precondition, "sandbox %q has ended", w.box.ID)
	if _, _, body := post(own + method); !strings.Contains(body, "failed_precondition") {
		t.Errorf("one that has ended: %s", body)
	}
}
