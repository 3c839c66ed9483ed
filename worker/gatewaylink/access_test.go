package gatewaylink

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestAccessIsToThePublicAPI has code in a container ask for everything that the worker's own token would open.
func TestAccessIsToThePublicAPI(t *testing.T) {
	reached := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached <- fmt.Sprint(r.URL.Path, " ", r.Header.Get(ContainerHeader), " ", len(r.Header.Values(ContainerHeader)), " ", r.Header.Get("Upgrade"))
	}))
	defer server.Close()
	access, err := NewAccess(server.Client(), server.URL, quiet)
	ok(t, err)
	path := filepath.Join(t.TempDir(), "gateway.sock")
	ln, err := net.Listen("unix", path)
	ok(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- access.Serve(ctx, "ta-mine", ln) }()
	ask := func(target string) string {
		t.Helper()
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", path)
		ok(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+proto\r\nX-Skerry-Container: ta-other\r\n"+
			"Connection: close, Upgrade, X-Skerry-Container\r\nUpgrade: skerry-link\r\nContent-Length: 0\r\n\r\n", target)
		ok(t, err)
		answer, err := io.ReadAll(conn)
		ok(t, err)
		return string(answer)
	}
	for _, target := range []string{
		"/skerry.worker.v1.BulkService/PushLogs", "/skerry.worker.v1.BulkService/FetchBlob", Path, "/skerry.build.v1/link", "/", "/metrics",
		"/skerry.v1.X/../skerry.worker.v1.BulkService/PushLogs", "/skerry.v1.X/%2e%2e/Y", "//skerry.v1.X/Y", "/skerry.v1.X/Y/", "*",
		"http://elsewhere/skerry.worker.v1.BulkService/PushLogs", "/skerry.v1.X/Y%0d%0aZ",
		"/sandboxes/sb-1/skerry.worker.v1.BulkService/PushLogs", "/sandboxes/sb-1/../skerry.v1.X/Y", "/sandboxes/sb-1/sidecars/../skerry.v1.X/Y",
		"/sandboxes/sb-1/sidecars/a/b/skerry.v1.X/Y", "/sandboxes/sb-1/ports/80", "/sandboxes/skerry.v1.X/Y",
	} {
		if answer := ask(target); !strings.Contains(answer, "permission_denied") && !strings.HasPrefix(answer, "HTTP/1.1 400") {
			t.Errorf("%s: answered %q", target, answer)
		}
	}
	select {
	case what := <-reached:
		t.Errorf("reached the gateway: %s", what)
	default:
	}
	for target, path := range map[string]string{
		"/skerry.v1.CallService/Session": "/skerry.v1.CallService/Session", "http://elsewhere/skerry.v1.CallService/Session": "/skerry.v1.CallService/Session",
		"/sandboxes/sb-1/skerry.v1.X/Y": "/sandboxes/sb-1/skerry.v1.X/Y", "/sandboxes/sb-1/sidecars/a.b/skerry.v1.X/Y": "/sandboxes/sb-1/sidecars/a.b/skerry.v1.X/Y",
	} {
		ask(target)
		if got, want := await(t, reached, "reached"), path+" ta-mine 1 "; got != want {
			t.Errorf("the gateway got %q, want %q", got, want)
		}
	}
	cancel()
	ok(t, await(t, ended, "ended"))
}

// TestGatewayIsNotReached checks that clients in containers are told in words that they know.
func TestGatewayIsNotReached(t *testing.T) {
	access, err := NewAccess(http.DefaultClient, "http://127.0.0.1:1", quiet)
	ok(t, err)
	for contentType, want := range map[string]string{
		"application/proto":         `503 {"code":"unavailable"`,
		"application/connect+proto": "200 \x02",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/skerry.v1.CallService/Session", http.NoBody)
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		access.proxy.ServeHTTP(w, r)
		if got := fmt.Sprint(w.Code, " ", w.Body.String()); !strings.HasPrefix(got, want) || !strings.Contains(got, "does not reach") || strings.Contains(got, "127.0.0.1") {
			t.Errorf("%s: answered %q", contentType, got)
		}
	}
}
