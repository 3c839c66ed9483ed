package server

import (
	"context"
	"errors"
	"time"

	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/gateway/logs"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/sidecar"
	"github.com/skerry-dev/skerry/gateway/snapshot"
	"github.com/skerry-dev/skerry/gateway/workerlink"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// This file joins sandboxes with the other nouns.

var (
	_ sandbox.Images   = images{}
	_ sandbox.Secrets  = secrets{}
	_ sandbox.Output   = sandboxOutput{}
	_ snapshot.Images  = images{}
	_ snapshot.Workers = snapshots{}
	_ sidecar.Workers  = snapshots{}
	_ logs.Sandboxes   = ends{}
)

func (i images) SandboxImage(ctx context.Context, id string) (sandbox.Image, error) {
	im, err := i.images.Image(ctx, id)
	if err == nil {
		err = i.images.Used(ctx, im)
	}
	if err != nil {
		return sandbox.Image{}, err
	}
	return sandbox.Image{
		File: im.EROFS, Chunked: im.Chunked, Env: im.Env, Workdir: im.Workdir, Entrypoint: im.Entrypoint, Cmd: im.Cmd,
	}, nil
}

// KeepFiles keeps what a snapshot of files has made.
func (i images) KeepFiles(ctx context.Context, file payload.Ref, base string, ttl time.Duration) (string, error) {
	im := image.Image{EROFS: file, Chunked: true}
	if base != "" {
		of, err := i.images.Image(ctx, base)
		if err != nil {
			return "", err
		}
		im.Env, im.Workdir, im.Entrypoint, im.Cmd, im.Shell, im.User = of.Env, of.Workdir, of.Entrypoint, of.Cmd, of.Shell, of.User
	}
	return i.images.Keep(ctx, im, ttl)
}

// snapshots finds workers for snapshots.
type snapshots struct{ workers *workerlink.Hub }

func (s snapshots) Snapshots(workerID string) (snapshot.Worker, error) {
	w, err := s.workers.Snapshots(workerID)
	if err != nil {
		return nil, err // a nil pointer would be a worker that is not nil
	}
	return w, nil
}

func (s snapshots) SidecarsOf(workerID string) (sidecar.Worker, error) {
	w, err := s.workers.Snapshots(workerID)
	if err != nil {
		return nil, err // as above
	}
	return w, nil
}

// sandboxOutput tells the logs of sandboxes.
type sandboxOutput struct{ logs *logs.Service }

func (o sandboxOutput) Opened(appID, sandboxID, name string) {
	o.logs.Open(sandboxID, logs.Origin{AppID: appID, FunctionName: name})
}

func (o sandboxOutput) Closed(sandboxID string) { o.logs.Ended(sandboxID) }

func (e ends) AwaitSandboxEnd(ctx context.Context, id string) error {
	for {
		sb, err := e.s.sandboxes.Wait(ctx, id, sandbox.MaxWait)
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil || sb.State == sandbox.Ended {
			return err
		}
	}
}
