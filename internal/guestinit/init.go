// Package guestinit is PID 1 of a container. It dials its worker over a unix socket, serves skerry.guest.v1 and the services of sandboxes
// there, owns the standard streams of the processes it starts, and reaps everything that dies in the container.
//
// It works as an ordinary process as well: it then makes itself the subreaper of its descendants.
package guestinit

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/guestinit/output"
	"github.com/skerry-dev/skerry/internal/guestinit/process"
)

const (
	// DefaultSocket is where the worker listens, as seen in the container.
	DefaultSocket = "/__skerry/run/guest.sock"
	// Nudge is the signal by which a worker has init dial again at once.
	Nudge = unix.SIGUSR1
	// memoryGoal is how much memory init aims to stay below, in bytes: it is the container's. Output may take half of it.
	memoryGoal = 128 << 20
	// processors is how many of init's goroutines run at a time. What init does is short and waits for others; a second thread that is woken to look
	// for work costs a sandbox more than the work, for in gVisor each sleep and wake is a way through its kernel.
	processors = 1
)

// Config says how init runs.
type Config struct {
	// Socket is where the worker listens.
	Socket string
	// Outlive has init go on when its link ends, and dial again. A container that is configured does that in any case.
	Outlive bool
	// OutputDir is a folder on the container's disk for output that memory has no room for; empty: it is forgotten. Only with Outlive.
	OutputDir string
	// Hostname is what the container is to be called; empty: as it is.
	Hostname string
	// Kernels is the folder of the programs that interpreters of code are given.
	Kernels string
}

// Main runs skerry-init with its arguments and returns its exit code. Problems are written to stderr.
func Main(args []string, stderr io.Writer) int {
	fs := flag.NewFlagSet("skerry-init", flag.ContinueOnError)
	fs.SetOutput(stderr)
	cfg := Config{}
	fs.StringVar(&cfg.Socket, "socket", DefaultSocket, "unix socket of the worker")
	fs.BoolVar(&cfg.Outlive, "outlive", false, "go on when the link to the worker ends, and dial again; keep output that nobody has read on the disk")
	fs.StringVar(&cfg.OutputDir, "output", "/", "folder for output that memory has no room for")
	fs.StringVar(&cfg.Hostname, "hostname", "", "what the container is called; empty: as it is")
	fs.StringVar(&cfg.Kernels, "kernels", "/__skerry/py/skerry/_interpreter", "folder of the programs that interpreters are given")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	err := error(nil)
	if os.Getpid() == 1 {
		err = keepPrivilege()
	}
	if err == nil {
		err = Run(context.Background(), cfg)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "skerry-init:", err) // there is nobody else to tell
		return 1
	}
	return 0
}

// Run dials the socket and serves the worker until the link or ctx ends, or for one that outlives its links until ctx ends; then it kills
// what it started. It returns nil when the worker closed the link. Only one Run may be under way in an operating system process, and nothing
// else there may wait for children.
func Run(ctx context.Context, cfg Config) error {
	if os.Getpid() != 1 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("become the reaper of orphans: %w", err)
		}
	}
	if cfg.Hostname != "" {
		if err := unix.Sethostname([]byte(cfg.Hostname)); err != nil {
			return fmt.Errorf("host name %q: %w", cfg.Hostname, err)
		}
	}
	debug.SetMemoryLimit(memoryGoal)
	runtime.GOMAXPROCS(processors)
	outputs := output.Config{}
	if cfg.Outlive {
		outputs.Dir = cfg.OutputDir
	}
	t := process.NewTable(output.NewStore(outputs))
	nudges := make(chan os.Signal, 1)
	signal.Notify(nudges, Nudge)
	defer signal.Stop(nudges)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM, unix.SIGINT)
	defer signal.Stop(signals)
	// The reaper outlives the link, so that the processes killed at the end are reaped too.
	reaperCtx, stopReaper := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReaper()
	go watchSignals(reaperCtx, t, signals)
	defer t.KillAll()
	return newHost(cfg, t, nudges).serve(ctx)
}

// watchSignals reaps on SIGCHLD and passes SIGTERM and SIGINT on as SIGTERM to every process group.
func watchSignals(ctx context.Context, t *process.Table, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			if s == unix.SIGCHLD {
				t.Reap()
			} else {
				t.SignalAll(unix.SIGTERM)
			}
		}
	}
}
