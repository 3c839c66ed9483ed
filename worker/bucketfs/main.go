package bucketfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	_ "github.com/rclone/rclone/backend/local" // the cache is files of this backend
	rclone "github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/vfs"
	"github.com/rclone/rclone/vfs/vfscommon"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/bucketfs/protocol"
)

// Bounds of the process.
const (
	// memoryGoal is what its garbage collector aims at, dataLimit what the kernel lets it have: a server that sends endless answers ends the
	// process of its own mount.
	memoryGoal = 256 << 20
	dataLimit  = 1 << 30
	maxWrite   = 1 << 20
	// listedFor is how long a folder's list is taken for true.
	listedFor = 3 * time.Second
	// cacheLook is how often the cache is looked through for what is over its bound.
	cacheLook = 10 * time.Second
)

// Main serves the bucket of the settings that it reads from in, until the mount is taken down. It tells out whether it could begin.
func Main(ctx context.Context, in io.Reader, out io.WriteCloser) error {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("part", "bucket")
	server, end, err := begin(ctx, in, log)
	if said := errors.Join(json.NewEncoder(out).Encode(protocol.NewAnswer(err)), out.Close()); err != nil || said != nil {
		return errors.Join(err, said)
	}
	server.Wait()
	end()
	return nil
}

// begin begins to serve. The caller calls end after the mount is taken down.
func begin(ctx context.Context, in io.Reader, log *slog.Logger) (server *fuse.Server, end func(), err error) {
	var s settings
	if err := json.NewDecoder(in).Decode(&s.Settings); err != nil {
		return nil, nil, fault.New(fault.Invalid, "settings: %w", err)
	}
	if err := s.Check(); err != nil {
		return nil, nil, err
	}
	if err := confine(s.Root, s.User); err != nil {
		return nil, nil, fmt.Errorf("giving up rights: %w", err)
	}
	log = log.With("bucket", s.Bucket, "endpoint", s.Endpoint, "prefix", s.Prefix)
	configure(ctx)
	resolve(s.Nameserver)
	if err := s.find(ctx); err != nil {
		return nil, nil, err
	}
	remote, err := s.remote(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := config.SetCacheDir(protocol.Files); err != nil {
		return nil, nil, err
	}
	files := vfs.New(ctx, remote, s.options())
	if files.Opt.CacheMode != vfscommon.CacheModeFull {
		return nil, nil, fault.New(fault.Internal, "the cache can't be used; the log says why")
	}
	t := &tree{vfs: files, cache: protocol.Files, uploads: make(chan struct{}, maxUploads), log: log, files: map[vfs.Node]*file{}}
	t.owed.files, t.owed.wake = map[vfs.Node]bool{}, make(chan struct{}, 1)
	root, err := files.Root()
	if err != nil {
		return nil, nil, err
	}
	raw := fs.NewNodeFS(t.of(root), &fs.Options{})
	server, err = fuse.NewServer(raw, fmt.Sprintf("/dev/fd/%d", protocol.DeviceFD), &fuse.MountOptions{
		MaxWrite: maxWrite, DisableXAttrs: true, DisableSplice: true, ExtraCapabilities: fuse.CAP_ATOMIC_O_TRUNC,
	})
	if err != nil {
		files.Shutdown()
		return nil, nil, err
	}
	go server.Serve()
	log.Info("bucket is served", "process", os.Getpid())
	life, stop := context.WithCancel(ctx)
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		t.settleLater(life)
	}()
	return server, func() {
		stop()
		<-settled
		t.finish()
		files.Shutdown()
		log.Info("bucket is served no more")
	}, nil
}

func (s *settings) options() *vfscommon.Options {
	o := vfscommon.Opt
	o.CacheMode, o.ReadOnly = vfscommon.CacheModeFull, s.ReadOnly
	o.WriteBack = 0 // uploads are made while their file is closed
	o.DirCacheTime, o.PollInterval = rclone.Duration(listedFor), 0
	o.CacheMaxSize, o.CachePollInterval = rclone.SizeSuffix(s.CacheBytes), rclone.Duration(cacheLook)
	o.CacheMinFreeSpace = reserveBytes
	o.Umask = 0
	return &o
}
