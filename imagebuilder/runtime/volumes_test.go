package runtime

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/stepvolume"
	"github.com/skerry-dev/skerry/internal/fault"
)

// place is a host with one volume.
type place struct {
	source string
	failed error // why what was written can't be committed
	ended  chan string
}

var _ build.Volumes = (*place)(nil)

func (p *place) Reap(context.Context) error { return nil }

func (p *place) Mount(_ context.Context, _ string, volumes []build.Volume) (out []build.Bind, err error) {
	for _, v := range volumes {
		out = append(out, build.Bind{Source: p.source, Target: v.Path, ReadOnly: v.ReadOnly})
	}
	return out, nil
}

func (p *place) Lost(string) <-chan struct{} { return nil }

func (p *place) End(_ context.Context, id string) error {
	p.ended <- id
	return p.failed
}

// desk serves a place, and returns a configuration that uses it, and a ticket for one volume that is read alone.
func desk(t *testing.T, p *place) (Config, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "desk") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p.ended = make(chan string, 1)
	c := Config{Volumes: filepath.Join(dir, "s"), Variable: "TICKET"}
	d := stepvolume.NewDesk(c.Volumes, p, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	if err := d.Open(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	ticket, revoke := d.Admit([]build.Volume{{ID: "vo-1", Path: "/models", ReadOnly: true}})
	t.Cleanup(revoke)
	return c, ticket
}

func TestStepsGetTheirVolumes(t *testing.T) {
	p := &place{source: "/host/volume"}
	c, ticket := desk(t, p)
	spec := &specs.Spec{
		Process: &specs.Process{Env: []string{"TICKET=forged", "A=1", "TICKET=" + ticket}},
		Mounts:  []specs.Mount{{Destination: "/proc", Type: "proc"}, {Destination: "/models", Type: "tmpfs", Source: "tmpfs"}},
	}
	held, err := c.volumes(spec)
	if err != nil {
		t.Fatal(err)
	}
	want := &specs.Spec{
		Process: &specs.Process{Env: []string{"A=1"}},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc"},
			{Destination: "/models", Type: "bind", Source: "/host/volume", Options: []string{"bind", "nosuid", "nodev", "ro"}},
		},
		Annotations: map[string]string{
			"dev.gvisor.spec.mount.volume0.source": "/host/volume", "dev.gvisor.spec.mount.volume0.type": "bind",
			"dev.gvisor.spec.mount.volume0.share": "shared", "dev.gvisor.spec.mount.volume0.options": "ro",
		},
	}
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Error(diff)
	}
	code, err := c.withVolumes(held, func(<-chan struct{}) (int, error) { return 3, nil })
	if err != nil || code != 3 || len(p.ended) != 1 {
		t.Errorf("code %d, %v, %d ends", code, err, len(p.ended))
	}
}

func TestStepsWithoutATicketHaveNoVolumes(t *testing.T) {
	c, _ := desk(t, &place{})
	spec := &specs.Spec{Process: &specs.Process{Env: []string{"A=1"}}}
	if held, err := c.volumes(spec); held != nil || err != nil {
		t.Errorf("%v, %v", held, err)
	}
	spec.Process.Env = []string{"TICKET=guessed"}
	if _, err := c.volumes(spec); !isDenied(err) {
		t.Errorf("a ticket that nobody was given: %v", err)
	}
}

func isDenied(err error) bool { return fault.KindOf(err) == fault.Denied }

// TestAStepWhoseVolumesAreNotCommittedHasFailed though its command succeeded: else its result would be kept without what it has written.
func TestAStepWhoseVolumesAreNotCommittedHasFailed(t *testing.T) {
	for _, c := range []struct {
		err  error
		text string
	}{
		{fault.New(fault.Unavailable, "the gateway\nis away"), "again: volumes of the step: the gateway is away"},
		{fault.New(fault.NotFound, "volume is gone"), "volumes of the step: volume is gone"},
	} {
		p := &place{source: "/x", failed: c.err}
		config, ticket := desk(t, p)
		config.Mark = "M"
		spec := &specs.Spec{Process: &specs.Process{Env: []string{"TICKET=" + ticket}}, Mounts: []specs.Mount{{Destination: "/models", Type: "tmpfs"}}}
		held, err := config.volumes(spec)
		if err != nil {
			t.Fatal(err)
		}
		if _, ended := held.Binds, held.End(); ended == nil || verdictOf(ended) != c.text {
			t.Errorf("%q, want %q", verdictOf(ended), c.text)
		}
	}
	if text, ok := Again("again: x"); !ok || text != "x" {
		t.Errorf("%q, %t", text, ok)
	}
}
