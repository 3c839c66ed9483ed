package server

import (
	"context"
	"net/http"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/apprpc"
	"github.com/skerry-dev/skerry/gateway/buildlink"
	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/callrpc"
	"github.com/skerry-dev/skerry/gateway/cron"
	"github.com/skerry-dev/skerry/gateway/dict"
	"github.com/skerry-dev/skerry/gateway/environment"
	"github.com/skerry-dev/skerry/gateway/fleet"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/gateway/layer"
	"github.com/skerry-dev/skerry/gateway/logs"
	"github.com/skerry-dev/skerry/gateway/mount"
	"github.com/skerry-dev/skerry/gateway/object"
	"github.com/skerry-dev/skerry/gateway/objectrpc"
	"github.com/skerry-dev/skerry/gateway/queue"
	"github.com/skerry-dev/skerry/gateway/rpc"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/sandboxrpc"
	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/gateway/secretrpc"
	"github.com/skerry-dev/skerry/gateway/sidecar"
	"github.com/skerry-dev/skerry/gateway/snapshot"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/gateway/tunnel"
	"github.com/skerry-dev/skerry/gateway/tunnelrpc"
	"github.com/skerry-dev/skerry/gateway/volume"
	"github.com/skerry-dev/skerry/gateway/volumelink"
	"github.com/skerry-dev/skerry/gateway/volumerpc"
	"github.com/skerry-dev/skerry/gateway/workerlink"
	"github.com/skerry-dev/skerry/internal/ident"
)

// compose makes the nouns and joins them by the ports they name.
func (s *Server) compose(tunnels tunnel.Config) {
	s.tokens = identity.New(s.db)
	s.environments = environment.New(environment.Deps{Store: s.db, Contents: s.contents(), Log: s.log})
	s.secrets = secret.New(s.db, s.db, s.keys.Sealer())
	s.mounts = mount.New(s.db, s.blobs)
	s.volumes = volume.New(volume.Deps{
		Objects: s.db, Lives: s.db, Store: s.db, Versions: s.db, Blobs: s.blobs, Workers: volumes{s}, Log: s.log,
	})
	s.layers = layer.New(s.cfg.Layers, s.db, s.blobs, s.log)
	s.builders = buildlink.New(s.cfg.BuilderWait, buildlink.Deps{Layers: s.layers, Blobs: s.blobs, Log: s.log})
	s.images = image.New(image.Deps{Store: s.db, Names: s.db, Ages: s.db, Builder: s.builders, Trees: s.mounts, Secrets: secrets{s.secrets, s.db}, Volumes: references{s}, Log: s.log})
	s.logs = logs.New(logs.Deps{Stream: s.engine.Logs(), Containers: origins{s}, Apps: ends{s}, Calls: ends{s}, Sandboxes: ends{s}, Log: s.log})
	workers := fleet.New()
	s.scheduler = task.New(task.Deps{
		Functions: s.db, Images: images{s.images}, Secrets: secrets{s.secrets, s.db}, Fleet: workers,
		Notices: notices{s}, Clock: task.SystemClock, Log: s.log,
	})
	s.calls = call.New(call.Deps{
		Flow: s.engine, Records: s.db, Blobs: payloads{s}, Dispatcher: s.scheduler, Clock: task.SystemClock, Log: s.log,
	})
	s.scheduler.SetSink(s.calls)
	s.schedules = cron.New(cron.Deps{Store: s.db, Calls: starts{s}, Notices: notices{s}, Clock: task.SystemClock, Log: s.log})
	s.apps = app.New(app.Deps{
		Store: s.db, Versions: s.db, Functions: s.db, Runtime: runtime{s}, References: references{s}, Secrets: s.secrets, Schedules: s.schedules,
		Window: s.cfg.HeartbeatWindow, Log: s.log,
	})
	s.sandboxes = sandbox.New(sandbox.Deps{
		Store: s.db, Apps: s.apps, Images: images{s.images}, Secrets: secrets{s.secrets, s.db}, Trees: s.mounts, Volumes: s.volumes, Output: sandboxOutput{s.logs},
		Fleet: workers, Follow: reached{s}, Log: s.log,
	})
	s.workers = workerlink.New(workerlink.Deps{
		Scheduler: s.scheduler, Sandboxes: s.sandboxes, Outputs: s.logs, EnvironmentName: s.environments.Name, Log: s.log,
	})
	s.snapshots = snapshot.New(snapshot.Deps{
		Sandboxes: s.sandboxes, Workers: snapshots{s.workers}, Images: images{s.images}, Store: s.db, Log: s.log,
	})
	s.sidecars = sidecar.New(sidecar.Deps{
		Sandboxes: s.sandboxes, Workers: snapshots{s.workers}, Images: images{s.images}, Secrets: secrets{s.secrets, s.db}, Trees: s.mounts, Volumes: s.volumes,
	})
	s.composeObjects()
	s.tunnels = tunnel.New(tunnels, tunnel.Deps{Sandboxes: reached{s}, Dialer: reached{s}, Store: s.db, Listeners: s.ingress, Log: s.log})
}

// composeObjects makes dicts and queues: what they are called is in the database, what they hold in the flow.
func (s *Server) composeObjects() {
	s.entries = dict.New(dict.Deps{Entries: s.engine.Dicts(), Journal: s.engine.Dicts(), Blobs: payloads{s}})
	s.items = queue.New(queue.Deps{Log: s.engine.Queues(), Blobs: payloads{s}, Logger: s.log})
	s.dicts = object.New(object.Deps{Kind: ident.Dict, Noun: "dict", Store: s.db, Lives: s.db, Contents: s.entries, Log: s.log})
	s.queues = object.New(object.Deps{Kind: ident.Queue, Noun: "queue", Store: s.db, Lives: s.db, Contents: s.items, Log: s.log})
}

// contents are all kinds of things that environments have, apps first: they use the others.
func (s *Server) contents() []environment.Contents {
	return []environment.Contents{
		{Noun: "apps", Empty: func(ctx context.Context, id string) error { return s.apps.StopAll(ctx, id) }},
		{Noun: "names of images", Empty: s.db.DeleteImageNames},
		{Noun: "volumes", Empty: func(ctx context.Context, id string) error { return s.volumes.Objects().DeleteAll(ctx, id) }},
		{Noun: "secrets", Empty: s.db.DeleteNamedSecrets},
		{Noun: "dicts", Empty: func(ctx context.Context, id string) error { return s.dicts.DeleteAll(ctx, id) }},
		{Noun: "queues", Empty: func(ctx context.Context, id string) error { return s.queues.DeleteAll(ctx, id) }},
	}
}

// handler serves everything on the one port; each path asks for its own kind of token.
func (s *Server) handler() http.Handler {
	opts := rpc.Options(s.log)
	of := apprpc.Deps{Apps: s.apps, Functions: s.db, Work: s.scheduler, Schedules: s.schedules}
	public := rpc.NewHandler(rpc.Deps{
		Apps: s.apps, Images: s.images, Mounts: s.mounts, Blobs: s.blobs, Tokens: s.tokens, Logs: s.logs,
		Environments: s.environments, Owners: owners{s}, Where: places{s}, Version: s.cfg.Version,
		AppService: apprpc.NewAppService(of), FunctionService: apprpc.NewFunctionService(of), ScheduleService: apprpc.NewScheduleService(of),
		CallService: callrpc.NewService(s.calls), ContainerService: rpc.NewContainerService(s.scheduler, execs{s.workers}),
		SandboxService: sandboxrpc.NewSandboxService(s.sandboxes), SandboxWatchService: sandboxrpc.NewWatchService(s.sandboxes),
		SnapshotService: sandboxrpc.NewSnapshotService(s.sandboxes, s.snapshots), SidecarService: sandboxrpc.NewSidecarService(s.sandboxes, s.sidecars),
		Relay:         sandboxrpc.NewRelay(s.sandboxes, s.snapshots, s.workers, s.log),
		SecretService: secretrpc.NewService(s.secrets, s.db),
		TunnelService: tunnelrpc.NewService(s.tunnels),
		VolumeService: volumerpc.NewService(s.volumes, s.sandboxes),
		DictService:   objectrpc.NewDictService(s.dicts, s.entries), QueueService: objectrpc.NewQueueService(s.queues, s.items),
	}, opts)
	mux := http.NewServeMux()
	mux.Handle("/", s.public.guard(public))
	mux.Handle(workerlink.Path, rpc.Authenticate(s.tokens, s.workers, identity.Worker))
	mux.Handle(buildlink.Path, rpc.Authenticate(s.tokens, s.builders, identity.Builder))
	path, bulk := workerlink.NewBulkHandler(workerlink.BulkDeps{
		Blobs: s.blobs, Mounts: s.mounts, Profiles: s.db, Logs: s.logs, Owners: s.workers,
	}, opts)
	mux.Handle(path, s.bulk.guard(rpc.Authenticate(s.tokens, bulk, identity.Worker, identity.Builder)))
	path, stores := volumelink.NewHandler(volumelink.Deps{Volumes: s.volumes, Owners: s.workers, Builds: s.builders}, opts)
	mux.Handle(path, s.bulk.guard(rpc.Authenticate(s.tokens, stores, identity.Worker, identity.Builder)))
	path, layers := buildlink.NewLayersHandler(s.layers, opts)
	mux.Handle(path, s.bulk.guard(rpc.Authenticate(s.tokens, layers, identity.Builder)))
	// What names a port of a sandbox goes there, and never to what is ours.
	return s.ingress.ByName(s.tunnels, mux)
}
