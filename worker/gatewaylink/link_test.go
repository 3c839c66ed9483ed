package gatewaylink

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"

	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/link"
)

// TestLinkIsDialledAnew loses a link, and checks that there is another one, which works.
func TestLinkIsDialledAnew(t *testing.T) {
	g := newGateway(t)
	s, _, _ := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	changes, ended := make(chan error, 10), make(chan error, 1)
	go func() { ended <- g.dialer(t).Serve(ctx, s.Handler(), func(err error) { changes <- err }) }()
	for range 3 {
		client := await(t, g.links, "linked")
		ok(t, await(t, changes, "told of the link"))
		worker := workerv1connect.NewWorkerServiceClient(client.HTTPClient(), link.BaseURL)
		res, err := worker.Describe(t.Context(), connect.NewRequest(&workerv1.DescribeRequest{}))
		ok(t, err)
		if res.Msg.GetWorkerId() != "wo-1" || res.Msg.GetCpuMilli() != 2000 {
			t.Errorf("described as %v", res.Msg)
		}
		ok(t, client.Close())
		if err := await(t, changes, "told of the loss"); err == nil {
			t.Error("a lost link was lost for no reason")
		}
	}
	cancel()
	ok(t, await(t, ended, "ended"))
}

func TestLinkIsRefused(t *testing.T) {
	g := newGateway(t)
	for _, c := range []struct{ url, token, want string }{
		{g.URL, "tk-1.wrong", "401"},
		{"http://127.0.0.1:1", token, "refused"},
	} {
		d, err := NewDialer(Address{URL: c.url, Token: c.token})
		ok(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		reasons, ended := make(chan error, 100), make(chan error, 1)
		go func() { ended <- d.Serve(ctx, http.NotFoundHandler(), func(err error) { reasons <- err }) }()
		if err := await(t, reasons, "told why"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: refused for %v, want %q", c.url, err, c.want)
		}
		cancel()
		ok(t, await(t, ended, "ended"))
	}
	for _, url := range []string{"", "gateway:7070", "ftp://gateway", "http://", "http://a b"} {
		if _, err := NewDialer(Address{URL: url}); err == nil {
			t.Errorf("address %q taken", url)
		}
	}
}
