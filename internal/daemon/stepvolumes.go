package daemon

import (
	"context"
	"os"
	"path/filepath"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	builder "github.com/skerry-dev/skerry/imagebuilder/server"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/volume"
	"github.com/skerry-dev/skerry/worker/volumelink"
)

// stepCacheBytes is how much of what build steps read of volumes is kept on the host, in bytes.
const stepCacheBytes = 4 << 30

// openVolumes has build steps get volumes, by a process of the builder's own: it commits with the builder's token, which may do that for what
// it builds alone, and does not hang on a worker that may be on another host.
func (n *node) openVolumes(c *builder.Config, blobs build.Blobs) {
	log := n.log.With("part", "volumes of builds")
	if _, err := os.Stat("/dev/fuse"); err != nil {
		log.Warn("build steps can have no volumes: the host has no FUSE", "error", err)
		return
	}
	dir := filepath.Join(n.cfg.Data, "builder")
	n.volumes = volume.NewHost(volume.HostConfig{
		Process: volume.Config{
			Dir: filepath.Join(n.cfg.RunDir(), "build-volumes"), CacheDir: filepath.Join(dir, "cache"), CacheBytes: stepCacheBytes,
			UpperDir: filepath.Join(dir, "volumes"), DiskBytes: int64(n.cfg.VolumeWrites) << 20, Release: Version, Log: log,
		},
		LogFile: filepath.Join(dir, "volumes.log"), Command: []string{"/proc/self/exe", volumesCommand},
		Store: volumelink.NewStore(link.HTTPClient(c.Token, c.TLS), c.Gateway), Blobs: blobs,
		Drops: true, // a step whose volumes are not committed has failed
	})
	c.Volumes = stepVolumes{n.volumes}
}

// stepVolumes are volumes in the builder's terms.
type stepVolumes struct{ host *volume.Host }

var _ build.Volumes = stepVolumes{}

// Reap implements build.Volumes.
func (v stepVolumes) Reap(ctx context.Context) error {
	if err := v.host.Find(ctx); err != nil {
		return err
	}
	return v.host.Reap(ctx)
}

// Mount implements build.Volumes.
func (v stepVolumes) Mount(ctx context.Context, stepID string, volumes []build.Volume) ([]build.Bind, error) {
	mounts := make([]container.VolumeMount, 0, len(volumes))
	for _, m := range volumes {
		mounts = append(mounts, container.VolumeMount{VolumeID: m.ID, Path: m.Path, SubPath: m.SubPath, ReadOnly: m.ReadOnly})
	}
	mounted, err := v.host.Mount(ctx, stepID, mounts)
	binds := make([]build.Bind, 0, len(mounted))
	for _, b := range mounted {
		binds = append(binds, build.Bind{Source: b.Source, Target: b.Target, ReadOnly: !b.Writable})
	}
	return binds, err
}

// Lost implements build.Volumes.
func (v stepVolumes) Lost(stepID string) <-chan struct{} { return v.host.Gone(stepID) }

// End implements build.Volumes.
func (v stepVolumes) End(ctx context.Context, stepID string) error { return v.host.Finish(ctx, stepID) }
