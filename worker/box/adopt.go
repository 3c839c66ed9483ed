package box

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// Record is what has to be kept of a box for the next process of the worker to take it over.
type Record struct {
	Spec     Spec
	Endpoint container.Endpoint
	Policy   policy.Policy              // the last one
	Mounts   map[string]container.Image `json:",omitempty"` // that are shown in it, by path
	Inners   []InnerSpec                `json:",omitempty"` // containers besides its own
	Buckets  []string                   `json:",omitempty"` // ids of those that are mounted for it
}

// Record returns the box's record.
func (b *Box) Record() Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := Record{Spec: b.spec, Policy: b.policy, Mounts: map[string]container.Image{}}
	if b.endpoint != nil {
		r.Endpoint = *b.endpoint
	}
	for at, m := range b.mounts {
		r.Mounts[at] = m.image
	}
	for _, i := range b.inners {
		r.Inners = append(r.Inners, i.spec)
	}
	for _, m := range b.buckets {
		r.Buckets = append(r.Buckets, m.ID)
	}
	return r
}

// SetPolicy changes what the box may reach; see network.Endpoints.
func (b *Box) SetPolicy(p policy.Policy) error {
	if err := b.host.cfg.Network.SetPolicy(b.endpoint, p); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.policy = p
	return nil
}

// Claim makes a box that was booted for nobody the one of a spec: its network and its limits. All else of the spec is as it is. The box is of no
// use if that fails.
func (b *Box) Claim(s Spec) error {
	if b.ended() {
		return fault.New(fault.Unavailable, "box %q: has ended", b.spec.ID)
	}
	m, err := b.booted(context.Background()) // init has linked, so the runtime's command is about to return
	if err != nil {
		return err
	}
	if err := m.Limit(cmp.Or(s.CPUMilli, DefaultWeightMilli), s.CPULimitMilli); err != nil {
		return err
	}
	if err := b.SetPolicy(s.Network); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s.ID, s.DiskMiB = b.spec.ID, b.spec.DiskMiB
	b.spec = s
	return nil
}

// Adoption is what became of a record. Without a box, Err says why, and Cause what is known of its end.
type Adoption struct {
	Box   *Box
	Err   error
	Cause Cause
}

// nudgeTimeout is how long a sentry may take to signal init; init dials by itself after a few seconds.
const nudgeTimeout = 5 * time.Second

// Adopt takes over boxes of an earlier process that still run; they link again by themselves. It is called before the network runs. What is left
// of the others is for Reap.
func (h *Host) Adopt(ctx context.Context, records []Record) []Adoption {
	out := make([]Adoption, len(records))
	var alive []int
	var kept []network.Kept
	for i, r := range records {
		b := h.newBox(r.Spec)
		m, err := h.cfg.Machines.Open(r.Spec.ID, filepath.Join(b.dir, bundleName))
		if err != nil {
			out[i].Err, out[i].Cause = err, h.remains(b)
			continue
		}
		b.boot.machine, b.policy = m, r.Policy
		close(b.up)
		out[i].Box = b
		alive = append(alive, i)
		kept = append(kept, network.Kept{Endpoint: r.Endpoint, ContainerID: r.Spec.ID, Policy: r.Policy})
	}
	for k, a := range h.cfg.Network.Adopt(kept) {
		i := alive[k]
		err := a.Err
		if err == nil {
			err = out[i].Box.resume(ctx, a.Endpoint, &records[i])
		}
		if err != nil {
			// It is of no use without what it holds. The rest of it is reaped.
			b := out[i].Box
			err = errors.Join(fmt.Errorf("box %q: %w", b.spec.ID, err), b.boot.machine.Kill())
			b.undo.Run()
			out[i] = Adoption{Err: errors.Join(append(b.failed, err)...), Cause: Cause{Message: err.Error()}}
		}
	}
	return out
}

func (h *Host) remains(b *Box) Cause {
	used, crash, err := h.cfg.Machines.Remains(b.spec.ID, filepath.Join(b.dir, bundleName))
	if err != nil && crash == "" {
		crash = err.Error()
	}
	return Cause{UsedUp: used, Message: crash}
}

// resume goes on with a box that runs.
func (b *Box) resume(ctx context.Context, e *container.Endpoint, r *Record) error {
	b.ownsDir()
	b.owns(e)
	files, release, err := b.host.cfg.Rootfs.Adopt(ctx, b.spec.Image, b.spec.Mounts)
	if err != nil {
		return err
	}
	b.undo.Add(release)
	b.image, b.binds = files.Image, files.Binds
	if err := b.adoptVolumes(ctx); err != nil {
		return err
	}
	if err := b.adoptBuckets(ctx, r.Buckets); err != nil {
		return err
	}
	for at, image := range r.Mounts {
		release := func() {}
		if image.Digest != "" {
			if _, release, err = b.host.cfg.Rootfs.Adopt(ctx, image, nil); err != nil {
				return fmt.Errorf("image at %s: %w", at, err)
			}
		}
		b.mounted(at, image, release)
	}
	if err := errors.Join(forgetSockets(b.dir), b.listen()); err != nil {
		return err
	}
	b.group = lifecycle.NewGroup(context.WithoutCancel(ctx))
	b.group.Go("machine", func(ctx context.Context) error {
		b.attend(ctx)
		return nil
	})
	b.serve()
	b.watchBuckets()
	b.group.Go("nudge", b.nudge)
	for _, spec := range r.Inners {
		b.resumeInner(ctx, spec)
	}
	return nil
}

// forgetSockets removes what an earlier process listened at: files that nobody listens at.
func forgetSockets(dir string) error {
	for _, name := range []string{guestSocket, gatewaySocket} {
		if err := os.Remove(filepath.Join(dir, runName, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// nudge has init dial at once; it does so by itself after a while.
func (b *Box) nudge(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, nudgeTimeout)
	defer cancel()
	if err := b.boot.machine.Nudge(ctx); err != nil && !errors.Is(err, fault.Unavailable) && ctx.Err() == nil {
		return err
	}
	return nil
}

// Leave ends this process's part in the box, which goes on: the next one takes it over. Delete does nothing after it.
func (b *Box) Leave() {
	b.deleted.Do(func() {
		b.host.cfg.Network.Leave(b.endpoint)
		for _, m := range b.buckets {
			m.Leave()
		}
		b.note(b.group.Stop())
		for _, i := range b.all() {
			i.stop()
		}
	})
}

// Reap removes what boxes of an earlier process have left in folders, except those in keep. None of the others runs any more.
func (h *Host) Reap(keep map[string]bool) error {
	entries, err := os.ReadDir(h.cfg.RunDir)
	if err != nil {
		return fmt.Errorf("boxes: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !keep[e.Name()] {
			errs = append(errs, os.RemoveAll(filepath.Join(h.cfg.RunDir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
