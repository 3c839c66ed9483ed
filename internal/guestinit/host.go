package guestinit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1/guestv1connect"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/guestinit/files"
	"github.com/skerry-dev/skerry/internal/guestinit/filesrpc"
	"github.com/skerry-dev/skerry/internal/guestinit/interpreter"
	"github.com/skerry-dev/skerry/internal/guestinit/interpreterrpc"
	"github.com/skerry-dev/skerry/internal/guestinit/mounts"
	"github.com/skerry-dev/skerry/internal/guestinit/place"
	"github.com/skerry-dev/skerry/internal/guestinit/ports"
	"github.com/skerry-dev/skerry/internal/guestinit/process"
	"github.com/skerry-dev/skerry/internal/guestinit/processrpc"
	"github.com/skerry-dev/skerry/internal/guestinit/sandboxrpc"
	"github.com/skerry-dev/skerry/internal/link"
)

const (
	// firstRetry and lastRetry bound how long init waits for a nudge before it dials again by itself; each wait is twice the one before.
	firstRetry, lastRetry = 50 * time.Millisecond, 5 * time.Second
	// quietRetry is that wait after it was told to be quiet, should the nudge be lost: a checkpoint is taken meanwhile.
	quietRetry = 2 * time.Minute
	// maxRequest bounds one message to init, in bytes.
	maxRequest = 8 << 20
)

var errQuiesced = errors.New("the worker asked for quiet")

// host serves one worker after the other.
type host struct {
	cfg     Config
	place   *place.Place
	nudges  <-chan os.Signal
	handler http.Handler
	quiet   atomic.Pointer[context.CancelCauseFunc] // ends the link that is up
}

func newHost(cfg Config, t *process.Table, nudges <-chan os.Signal) *host {
	h := &host{cfg: cfg, place: place.New(), nudges: nudges}
	bounds := connect.WithHandlerOptions(connect.WithReadMaxBytes(maxRequest), connect.WithInterceptors(link.Ended()))
	mux := http.NewServeMux()
	mux.Handle(guestv1connect.NewGuestServiceHandler(&service{table: t}, bounds))
	mux.Handle(guestv1connect.NewSandboxServiceHandler(sandboxrpc.New(sandboxrpc.Config{
		Table: t, Place: h.place, Mounts: mounts.New(), Quiesce: h.quiesce,
	}), bounds))
	mux.Handle(skerryv1connect.NewProcessServiceHandler(processrpc.New(t, h.place), bounds))
	mux.Handle(skerryv1connect.NewFilesystemServiceHandler(filesrpc.New(files.New()), bounds))
	mux.Handle(skerryv1connect.NewInterpreterServiceHandler(interpreterrpc.New(interpreter.New(interpreter.Config{
		Table: t, Place: h.place, Kernels: cfg.Kernels,
	})), bounds))
	mux.Handle(ports.Path, &ports.Handler{})
	h.handler = mux
	return h
}

// quiesce has the link end once what is under way was answered.
func (h *host) quiesce() {
	if end := h.quiet.Load(); end != nil {
		(*end)(errQuiesced)
	}
}

// serve serves links until ctx ends or init is one that ends with its link.
func (h *host) serve(ctx context.Context) error {
	wait := firstRetry
	for {
		began := time.Now()
		linked, err := h.serveOnce(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !h.cfg.Outlive && !h.place.Configured() {
			if linked {
				return nil
			}
			return err
		}
		if linked && time.Since(began) > lastRetry {
			wait = firstRetry
		}
		if errors.Is(err, errQuiesced) {
			wait = quietRetry
		}
		nudged := h.await(ctx, wait)
		if wait = min(2*wait, lastRetry); nudged {
			wait = firstRetry
		}
	}
}

// await returns when the worker nudges, ctx ends, or the wait is over.
func (h *host) await(ctx context.Context, wait time.Duration) (nudged bool) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-h.nudges:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// serveOnce serves one link to its end, and says whether there was one.
func (h *host) serveOnce(ctx context.Context) (linked bool, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", h.cfg.Socket)
	if err != nil {
		return false, fmt.Errorf("dial the worker: %w", err)
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	h.quiet.Store(&end)
	defer h.quiet.Store(nil)
	return true, link.Serve(ctx, conn, h.handler)
}
