// Package guestinit is PID 1 of a container. It dials its worker over a unix socket, serves skerry.guest.v1 there, owns the standard
// streams of the processes it starts, and reaps everything that dies in the container.
//
// It works as an ordinary process as well: it then makes itself the subreaper of its descendants.
package guestinit

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1/guestv1connect"
	"github.com/skerry-dev/skerry/internal/link"
)

// DefaultSocket is where the worker listens, as seen in the container.
const DefaultSocket = "/__skerry/run/guest.sock"

// Main runs skerry-init with its arguments and returns its exit code. Problems are written to stderr.
func Main(args []string, stderr io.Writer) int {
	fs := flag.NewFlagSet("skerry-init", flag.ContinueOnError)
	fs.SetOutput(stderr)
	socket := fs.String("socket", DefaultSocket, "unix socket of the worker")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	err := error(nil)
	if os.Getpid() == 1 {
		err = keepPrivilege()
	}
	if err == nil {
		err = Run(context.Background(), *socket)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "skerry-init:", err) // there is nobody else to tell
		return 1
	}
	return 0
}

// Run dials the socket and serves the worker until the link or ctx ends; then it kills what it started. It returns nil when the worker
// closed the link. Only one Run may be under way in an operating system process, and nothing else there may wait for children.
func Run(ctx context.Context, socket string) error {
	if os.Getpid() != 1 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("become the reaper of orphans: %w", err)
		}
	}
	t := newTable()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM, unix.SIGINT)
	defer signal.Stop(signals)
	// The reaper outlives the link, so that the processes killed at the end are reaped too.
	reaperCtx, stopReaper := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReaper()
	go t.watchSignals(reaperCtx, signals)
	defer t.killAll()
	return serveOnce(ctx, socket, t)
}

// serveOnce serves one link. A worker that adopts running containers after its restart will want this called again instead of Run
// returning.
func serveOnce(ctx context.Context, socket string, t *table) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("dial the worker: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle(guestv1connect.NewGuestServiceHandler(&service{table: t}))
	err = link.Serve(ctx, conn, mux)
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
		return err
	}
	return nil
}
