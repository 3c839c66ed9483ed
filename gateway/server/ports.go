package server

import (
	"bytes"
	"context"
	"time"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/cron"
	"github.com/skerry-dev/skerry/gateway/dict"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/gateway/logs"
	"github.com/skerry-dev/skerry/gateway/queue"
	"github.com/skerry-dev/skerry/gateway/rpc"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/gateway/workerlink"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// This file joins nouns whose ports say the same in different words.

var (
	_ task.Images     = images{}
	_ task.Secrets    = secrets{}
	_ image.Secrets   = secrets{}
	_ task.Notices    = notices{}
	_ call.Blobs      = payloads{}
	_ dict.Blobs      = payloads{}
	_ queue.Blobs     = payloads{}
	_ app.Runtime     = runtime{}
	_ app.References  = references{}
	_ logs.Containers = origins{}
	_ logs.Apps       = ends{}
	_ rpc.Execs       = execs{}
)

type images struct{ images *image.Service }

func (i images) ContainerImage(ctx context.Context, id string) (task.Image, error) {
	im, err := i.images.Image(ctx, id)
	if err == nil {
		err = i.images.Used(ctx, im)
	}
	if err != nil {
		return task.Image{}, err
	}
	return task.Image{File: im.EROFS, Chunked: im.Chunked, Env: im.Env, Workdir: im.Workdir}, nil
}

type secrets struct {
	secrets *secret.Service
	apps    app.Store
}

func (s secrets) SecretEnv(ctx context.Context, ids []string) (map[string]string, error) {
	return s.secrets.Env(ctx, ids)
}

// Variables opens secrets for a build of the app's.
func (s secrets) Variables(ctx context.Context, appID string, ids []string) (map[string]string, error) {
	if len(ids) == 0 {
		return map[string]string{}, nil
	}
	owner, err := s.owner(ctx, appID)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := s.secrets.Check(ctx, owner, id); err != nil {
			return nil, err
		}
	}
	return s.secrets.Env(ctx, ids)
}

// owner returns what secrets an app may use: its own, and those of its environment.
func (s secrets) owner(ctx context.Context, appID string) (secret.Owner, error) {
	a, err := s.apps.App(ctx, appID)
	if err != nil {
		return secret.Owner{}, err
	}
	return secret.Owner{AppID: appID, Environment: a.Environment}, nil
}

// noticeTimeout bounds how long a notice may take: it is told from where containers are scheduled.
const noticeTimeout = 2 * time.Second

type notices struct{ s *Server }

func (n notices) Notice(fn *function.Function, containerID, text string) {
	ctx, cancel := context.WithTimeout(n.s.bulk.ctx, noticeTimeout)
	defer cancel()
	origin := logs.Origin{AppID: fn.AppID, FunctionID: fn.ID, FunctionName: fn.Definition.Name}
	if err := n.s.logs.Notice(ctx, origin, containerID, text); err != nil {
		n.s.log.Warn("notice is lost", "function", fn.ID, "container", containerID, "text", text, "error", err)
	}
}

type payloads struct{ s *Server }

func (p payloads) PutBlob(ctx context.Context, data []byte) (payload.Ref, error) {
	ref := payload.Ref{Digest: ident.Digest(data), Size: uint64(len(data))}
	return ref, p.s.blobs.Put(ctx, ref.Digest, ref.Size, bytes.NewReader(data))
}

// ClaimBlob implements dict.Blobs.
func (p payloads) ClaimBlob(ctx context.Context, digest string) error {
	return references(p).CheckBlob(ctx, digest)
}

// ReadBlob implements dict.Blobs and queue.Blobs.
func (p payloads) ReadBlob(ctx context.Context, ref payload.Ref) ([]byte, error) {
	return p.s.blobs.ReadAll(ctx, ref.Digest, int64(ref.Size)) //nolint:gosec // checked where it was stored
}

func (p payloads) HasBlob(ctx context.Context, digest string) (bool, error) {
	return p.s.claim(ctx, digest)
}

type runtime struct{ s *Server }

func (r runtime) Published(ctx context.Context, functions, removed []*function.Function, recreate bool) error {
	r.s.scheduler.Removed(removed, recreate)
	return r.s.scheduler.Published(ctx, functions, recreate)
}

func (r runtime) StopApp(ctx context.Context, appID string) (<-chan struct{}, error) {
	if err := r.s.calls.StopApp(ctx, appID); err != nil {
		return nil, err
	}
	return both(r.s.sandboxes.StopApp(ctx, appID), r.s.scheduler.AppDone(appID)), nil
}

// both returns a channel that is closed when the two are.
func both(a, b <-chan struct{}) <-chan struct{} {
	done := make(chan struct{})
	go func() { // it ends with what it waits for, which the stop of an app or of the gateway ends
		defer close(done)
		<-a
		<-b
	}()
	return done
}

func (r runtime) Containers(appID string) int {
	return r.s.scheduler.CountByApp(appID).Containers + r.s.sandboxes.Count(appID)
}

func (r runtime) Busy(ctx context.Context, appID string) (bool, error) {
	if r.s.sandboxes.Count(appID) > 0 {
		return true, nil
	}
	return r.s.calls.Busy(ctx, appID)
}

type references struct{ s *Server }

func (r references) CheckImage(ctx context.Context, id string) error {
	_, err := r.s.images.Image(ctx, id)
	return err
}

func (r references) CheckBlob(ctx context.Context, digest string) error {
	has, err := r.s.claim(ctx, digest)
	if err == nil && !has {
		err = fault.New(fault.NotFound, "blob %q: not stored; upload it before", digest)
	}
	return err
}

func (r references) CheckTree(ctx context.Context, digest string) error {
	return r.s.mounts.Check(ctx, digest)
}

func (r references) CheckSecret(ctx context.Context, appID, id string) error {
	owner, err := secrets{r.s.secrets, r.s.db}.owner(ctx, appID)
	if err != nil {
		return err
	}
	return r.s.secrets.Check(ctx, owner, id)
}

type origins struct{ s *Server }

func (o origins) Origin(containerID string) (logs.Origin, bool) {
	if ident.Check(ident.Sandbox, containerID) == nil {
		sb, err := o.s.sandboxes.Get(context.Background(), containerID)
		return logs.Origin{AppID: sb.AppID, FunctionName: sb.Definition.Name}, err == nil
	}
	who, ok := o.s.scheduler.Identify(containerID)
	return logs.Origin{AppID: who.AppID, FunctionID: who.FunctionID, FunctionName: who.FunctionName}, ok
}

type ends struct{ s *Server }

func (e ends) Done(ctx context.Context, appID string) (<-chan struct{}, error) {
	return e.s.apps.Done(ctx, appID)
}

func (e ends) AwaitEnd(ctx context.Context, callID string) error {
	return e.s.calls.AwaitEnd(ctx, callID)
}

func (e ends) Began(ctx context.Context, callID string) (functionID string, at time.Time, known bool) {
	state, err := e.s.calls.Get(ctx, callID)
	return state.FunctionID, state.CreatedAt, err == nil
}

type execs struct{ workers *workerlink.Hub }

func (e execs) Exec(ctx context.Context, workerID string) (rpc.ExecStream, error) {
	stream, err := e.workers.Exec(ctx, workerID)
	if err != nil {
		return nil, err // a nil *Exec would be a stream that is not nil
	}
	return stream, nil
}

// places finds containers for requests of the code in them.
type places struct{ s *Server }

var _ rpc.Places = places{}

func (p places) Identify(containerID string) (task.Identity, bool) {
	if ident.Check(ident.Sandbox, containerID) == nil {
		sb, err := p.s.sandboxes.Get(context.Background(), containerID)
		return task.Identity{AppID: sb.AppID, Environment: sb.Environment}, err == nil
	}
	return p.s.scheduler.Identify(containerID)
}

func (p places) WorkerToken(containerID string) (string, error) {
	if ident.Check(ident.Sandbox, containerID) == nil {
		sb, err := p.s.sandboxes.Get(context.Background(), containerID)
		if err == nil && (sb.State == sandbox.Ended || !sb.Definition.GatewayAccess) {
			err = fault.New(fault.NotFound, "sandbox %q: has no access to the gateway", containerID)
		}
		return p.s.workers.TokenOf(sb.WorkerID), err
	}
	worker, err := p.s.scheduler.WorkerOf(containerID)
	if err != nil {
		return "", err
	}
	return p.s.workers.TokenOf(worker), nil
}

// starts makes the calls of schedules.
type starts struct{ s *Server }

var _ cron.Calls = starts{}

func (c starts) Start(ctx context.Context, callID, functionID string) error {
	none := payload.Payload{Format: payload.Pickle, Inline: []byte{}}
	return c.s.calls.Spawn(ctx, call.Submit{CallID: callID, FunctionID: functionID, Inputs: []call.Item{{Args: none}}})
}
