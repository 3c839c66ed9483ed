package link_test

import (
	"context"
	"net"
	"net/http"
	"testing"

	"connectrpc.com/connect"

	guestv1 "github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1/guestv1connect"
	"github.com/skerry-dev/skerry/internal/link"
)

// waiting answers when its caller or its link has gone.
type waiting struct {
	guestv1connect.UnimplementedGuestServiceHandler
	begun chan struct{}
}

func (w waiting) WaitProcess(
	ctx context.Context, _ *connect.Request[guestv1.WaitProcessRequest],
) (*connect.Response[guestv1.WaitProcessResponse], error) {
	w.begun <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (w waiting) ReadOutput(
	ctx context.Context, _ *connect.Request[guestv1.ReadOutputRequest], _ *connect.ServerStream[guestv1.ReadOutputResponse],
) error {
	w.begun <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// TestEnded ends a link with requests under way: they are told that it was the link, and that they may ask again.
func TestEnded(t *testing.T) {
	ours, theirs := net.Pipe()
	begun := make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle(guestv1connect.NewGuestServiceHandler(waiting{begun: begun}, connect.WithInterceptors(link.Ended())))
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- link.Serve(ctx, theirs, mux) }()
	c, err := link.NewClient(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	rpc := guestv1connect.NewGuestServiceClient(c.HTTPClient(), link.BaseURL)

	errs := make(chan error, 2)
	go func() {
		_, err := rpc.WaitProcess(t.Context(), connect.NewRequest(&guestv1.WaitProcessRequest{}))
		errs <- err
	}()
	go func() {
		stream, err := rpc.ReadOutput(t.Context(), connect.NewRequest(&guestv1.ReadOutputRequest{}))
		if err == nil {
			stream.Receive()
			err = stream.Err()
		}
		errs <- err
	}()
	<-begun
	<-begun
	cancel()
	for range 2 {
		if err := <-errs; connect.CodeOf(err) != connect.CodeUnavailable {
			t.Errorf("at the end of the link: %v", err)
		}
	}
	if err := <-served; err == nil {
		t.Error("Serve returned nil")
	}
}
