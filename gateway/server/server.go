// Package server puts a gateway together: its stores, its nouns, its services and its port.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/backup"
	"github.com/skerry-dev/skerry/gateway/buildlink"
	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/cron"
	"github.com/skerry-dev/skerry/gateway/dict"
	"github.com/skerry-dev/skerry/gateway/environment"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/gateway/ingress"
	"github.com/skerry-dev/skerry/gateway/jetstream"
	"github.com/skerry-dev/skerry/gateway/layer"
	"github.com/skerry-dev/skerry/gateway/logs"
	"github.com/skerry-dev/skerry/gateway/mount"
	"github.com/skerry-dev/skerry/gateway/object"
	"github.com/skerry-dev/skerry/gateway/queue"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/gateway/sidecar"
	"github.com/skerry-dev/skerry/gateway/snapshot"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/gateway/tunnel"
	"github.com/skerry-dev/skerry/gateway/volume"
	"github.com/skerry-dev/skerry/gateway/workerlink"
	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// Bounds of a stop in good order.
const (
	// drainTimeout is how long requests that are under way may take.
	drainTimeout = 5 * time.Second
	// outputTimeout is how long the last output of stopped containers may take to come.
	outputTimeout = 2 * time.Second
)

// Config describes a gateway.
type Config struct {
	// Dir is the folder of the database, the message engine and the master key. Needed.
	Dir string
	// Listen is the address of the one port. Default: DefaultListen. An address that isn't loopback needs TLS or Insecure.
	Listen string
	// TLSCert and TLSKey are PEM files; both or neither.
	TLSCert, TLSKey string
	// Insecure allows to listen in clear on an address that others can reach.
	Insecure bool
	// SyncAlways syncs each message of the message engine before it is acknowledged, not every 100 ms.
	SyncAlways bool
	// SecretsKey is the URL of the master key of secrets in a key management service. Default: a key of its own in Dir.
	SecretsKey string
	// SecretsKeysBefore are the URLs of those before it, which secrets may be sealed under.
	SecretsKeysBefore []string
	// Version is what clients are told.
	Version string
	// DB is the URL of a PostgreSQL database. Empty: SQLite in Dir.
	DB string
	// Cluster is the NATS servers to use. Zero: one that is embedded, with its files in Dir.
	Cluster jetstream.Cluster
	// HeartbeatWindow is how long an ephemeral app lives without its client. Default: app.HeartbeatWindow.
	HeartbeatWindow time.Duration
	// BlobGrace is how long blobs live that nothing refers to. Default: DefaultBlobGrace.
	BlobGrace time.Duration
	// Layers bounds what builders share of their results. Zero fields: layer.Default...
	Layers layer.Config
	// Ingress says how ports of sandboxes are reached.
	Ingress IngressConfig
	// BuilderWait is how long a build waits for a builder to connect. Default: buildlink.DefaultConnectWait.
	BuilderWait time.Duration
}

// Server is a gateway. New opens what it keeps and its port, Run serves, Close gives everything back.
type Server struct {
	cfg   Config
	log   *slog.Logger
	blobs *blob.Store

	db       *sqlstore.DB
	engine   *jetstream.Engine
	listener net.Listener

	environments *environment.Service
	keys         *keys

	tokens    *identity.Service
	secrets   *secret.Service
	mounts    *mount.Service
	images    *image.Service
	apps      *app.Service
	schedules *cron.Service
	logs      *logs.Service
	calls     *call.Service
	scheduler *task.Scheduler
	sandboxes *sandbox.Service
	snapshots *snapshot.Service
	sidecars  *sidecar.Service
	tunnels   *tunnel.Service
	volumes   *volume.Service
	ingress   *ingress.Server
	workers   *workerlink.Hub
	builders  *buildlink.Hub
	layers    *layer.Service

	dicts, queues *object.Service // what they are called
	entries       *dict.Service
	items         *queue.Service

	public, bulk *gate
	release      func()
}

// New opens a gateway's stores and port. The blob store stays the caller's.
func New(ctx context.Context, cfg Config, blobs *blob.Store, log *slog.Logger) (*Server, error) {
	if cfg.Listen == "" {
		cfg.Listen = DefaultListen
	}
	if cfg.BlobGrace == 0 {
		cfg.BlobGrace = DefaultBlobGrace
	}
	s := &Server{cfg: cfg, log: log, blobs: blobs, public: newGate(), bulk: newGate()}
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	// The port first: where another gateway has it, this one must not touch the files.
	ln, err := listen(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s.listener = ln
	undo.Add(s.closing("listener", ignoreClosed(ln.Close)))
	if err := s.openIngress(ctx); err != nil {
		return nil, err
	}
	undo.Add(s.closing("ingress", s.ingress.Close))
	tunnels, err := s.tunnelConfig()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("gateway folder: %w", err)
	}
	if s.db, err = sqlstore.Open(ctx, Database(cfg.Dir, cfg.DB)); err != nil {
		return nil, err
	}
	undo.Add(s.closing("database", s.db.Close))
	if s.keys, err = openKeys(ctx, cfg.Dir, cfg.SecretsKey, cfg.SecretsKeysBefore); err != nil {
		return nil, err
	}
	undo.Add(s.closing("master keys", s.keys.Close))
	if err := s.keys.Adopt(ctx, s.db); err != nil {
		return nil, err
	}
	if s.engine, err = jetstream.Open(ctx, flowConfig(cfg), log); err != nil {
		return nil, err
	}
	undo.Add(s.closing("message engine", s.engine.Close))
	s.compose(tunnels)
	undo.Add(s.tunnels.Close)
	if err := s.environments.Load(ctx); err != nil {
		return nil, err
	}
	if err := s.tunnels.Restore(ctx); err != nil {
		return nil, err
	}
	if err := s.sandboxes.Load(ctx); err != nil {
		return nil, err
	}
	if err := s.entries.Recover(ctx); err != nil {
		return nil, err
	}
	undo.Add(s.closing("worker links", s.workers.Close))
	undo.Add(s.closing("builder links", s.builders.Close))
	undo.Add(s.public.close)
	undo.Add(s.bulk.close)
	s.release = undo.Release()
	return s, nil
}

// closing makes a step of giving back: what fails then has nobody else to tell.
func (s *Server) closing(what string, f func() error) func() {
	return func() {
		if err := f(); err != nil {
			s.log.Warn("not closed in good order", "part", what, "error", err)
		}
	}
}

func ignoreClosed(f func() error) func() error {
	return func() error {
		if err := f(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// Addr is the address that the gateway listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// URL is where clients on this machine reach the gateway.
func (s *Server) URL() string {
	scheme := "http"
	if s.cfg.TLSCert != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		return scheme + "://" + s.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// Stores is all that the gateway keeps, for a backup while it runs. The master key is not in it.
func (s *Server) Stores() backup.Stores {
	return backup.Stores{Records: s.db, Flow: s.engine, Blobs: s.blobs}
}

// Tokens makes and checks tokens, also before Run.
func (s *Server) Tokens() *identity.Service { return s.tokens }

// WorkerJoined is closed once a worker has joined: from then on calls can be run.
func (s *Server) WorkerJoined() <-chan struct{} { return s.workers.Joined() }

// Run serves until ctx ends, then stops in order: public requests end, containers are stopped, links are closed. It returns nil after a
// stop in good order.
func (s *Server) Run(ctx context.Context) error {
	parts := lifecycle.NewGroup(context.WithoutCancel(ctx))
	serving := lifecycle.NewGroup(context.WithoutCancel(ctx))
	for _, p := range []struct {
		name string
		run  func(context.Context) error
	}{{"scheduler", s.scheduler.Run}, {"calls", s.calls.Run}, {"images", s.images.Run}, {"apps", s.apps.Run}, {"environments", s.environments.Run}, {"schedules", s.schedules.Run}, {"sandboxes", s.sandboxes.Run}, {"tunnels", s.tunnels.Run}, {"volumes", s.volumes.Objects().Run}, {"dicts", s.dicts.Run}, {"queues", s.queues.Run}, {"items of queues", s.items.Run}} {
		parts.Go(p.name, func(ctx context.Context) error { return endedBy(ctx, p.run(ctx)) })
	}
	parts.Go("message engine", s.watchEngine)
	parts.Go("rotation of the master key", s.reseal)
	parts.Go("collection of blobs", s.collect)
	server := newHTTPServer(s.handler())
	server.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
	serving.Go("http", func(context.Context) error {
		if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	serving.Go("ingress", func(ctx context.Context) error { return s.ingress.Run(ctx, s.tunnels) })
	s.log.Info("gateway serves", "url", s.URL())
	select {
	case <-ctx.Done():
	case <-parts.Context().Done():
	case <-serving.Context().Done():
	}
	return errors.Join(s.end(ctx, parts, server), serving.Stop())
}

// end stops in order: what clients ask, then containers and builds, then their last output, then the links.
func (s *Server) end(ctx context.Context, parts *lifecycle.Group, server *http.Server) error {
	s.public.close()
	s.tunnels.Close()
	err := parts.Stop()
	last, cancel := lifecycle.Detach(ctx, outputTimeout)
	defer cancel()
	if derr := s.logs.Drain(last); derr != nil {
		s.log.Warn("last output of containers is lost", "limit", outputTimeout)
	}
	s.bulk.close()
	err = errors.Join(err, s.builders.Close(), s.workers.Close())
	drain, cancel := lifecycle.Detach(ctx, drainTimeout)
	defer cancel()
	if server.Shutdown(drain) != nil {
		// Requests that did not end in time are cut.
		err = errors.Join(err, server.Close())
	}
	return err
}

// watchEngine fails when the message engine ends by itself.
func (s *Server) watchEngine(ctx context.Context) error {
	select {
	case <-s.engine.Done():
		return errors.New("ended unexpectedly")
	case <-ctx.Done():
		return nil
	}
}

// endedBy drops an error that only says that ctx ended.
func endedBy(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))) {
		return nil
	}
	return err
}

// Close gives everything back, in reverse. Run must have returned, or never been called.
func (s *Server) Close() { s.release() }
