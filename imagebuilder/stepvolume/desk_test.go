package stepvolume_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/stepvolume"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// host is one that mounts nothing and tells what it is asked for.
type host struct {
	refusal error
	lost    chan struct{}
	ended   chan string
}

var _ build.Volumes = (*host)(nil)

func newHost() *host { return &host{lost: make(chan struct{}), ended: make(chan string, 1)} }

func (h *host) Reap(context.Context) error { return nil }

func (h *host) Mount(_ context.Context, id string, volumes []build.Volume) ([]build.Bind, error) {
	if err := ident.Check(ident.BuildStep, id); err != nil {
		return nil, err
	}
	return []build.Bind{{Source: "/mounted/" + volumes[0].ID, Target: volumes[0].Path}}, h.refusal
}

func (h *host) Lost(string) <-chan struct{} { return h.lost }

func (h *host) End(_ context.Context, id string) error {
	h.ended <- id
	select {
	case <-h.lost:
		return fault.New(fault.Unavailable, "lost")
	default:
		return nil
	}
}

// serve returns a desk that serves at a socket until the function that it returns is called.
func serve(t *testing.T, h *host) (d *stepvolume.Desk, socket string, stop func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "desk") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "s")
	d = stepvolume.NewDesk(socket, h, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	if err := d.Open(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stop = func() {
		cancel()
		if err, open := <-done; open && err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		cancel()
		_ = os.RemoveAll(dir)
	})
	return d, socket, stop
}

var wanted = []build.Volume{{ID: "vo-1", Path: "/data"}}

func TestAStepHoldsItsVolumes(t *testing.T) {
	h := newHost()
	d, socket, stop := serve(t, h)
	ticket, revoke := d.Admit(wanted)
	for range 2 { // each command of a step is a container
		held, err := stepvolume.Ask(t.Context(), socket, ticket)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]build.Bind{{Source: "/mounted/vo-1", Target: "/data"}}, held.Binds); diff != "" {
			t.Error(diff)
		}
		if err := held.End(); err != nil {
			t.Error(err)
		}
		<-h.ended
	}
	revoke()
	if _, err := stepvolume.Ask(t.Context(), socket, ticket); !errors.Is(err, fault.Denied) {
		t.Errorf("a ticket of a build that has ended: %v", err)
	}
	stop()
	if _, err := stepvolume.Ask(t.Context(), socket, ticket); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a desk that is gone: %v", err)
	}
}

func TestVolumesThatCanNotBeHad(t *testing.T) {
	h := newHost()
	h.refusal = fault.New(fault.NotFound, "volume is gone")
	d, socket, _ := serve(t, h)
	ticket, _ := d.Admit(wanted)
	if _, err := stepvolume.Ask(t.Context(), socket, ticket); !errors.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if len(h.ended) != 0 {
		t.Error("what was not mounted was ended")
	}
}

func TestLostVolumesAreHeardOf(t *testing.T) {
	h := newHost()
	d, socket, _ := serve(t, h)
	ticket, _ := d.Admit(wanted)
	held, err := stepvolume.Ask(t.Context(), socket, ticket)
	if err != nil {
		t.Fatal(err)
	}
	close(h.lost)
	<-held.Lost()
	if err := held.End(); !errors.Is(err, fault.Unavailable) {
		t.Error(err)
	}
}

// TestTheEndOfARuntimeEndsItsStep however it comes, and a peer that says nothing sensible has nothing.
func TestTheEndOfARuntimeEndsItsStep(t *testing.T) {
	h := newHost()
	d, socket, stop := serve(t, h)
	ticket, _ := d.Admit(wanted)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(`{"ticket":"` + ticket + `"}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	<-h.ended
	for _, nonsense := range []string{"x", `{"ticket":1}`, `{}`} {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(nonsense)); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 4096)
		if n, err := conn.Read(answer); err != nil || n == 0 {
			t.Errorf("%q: %v", nonsense, err)
		}
		_ = conn.Close()
	}
	stop() // waits for all of them
	if len(h.ended) != 0 {
		t.Error("nonsense has mounted something")
	}
}
