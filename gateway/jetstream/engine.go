// Package jetstream keeps the gateway's flow in NATS JetStream: inputs, outputs of SYNC calls, items of generators, logs, and what is
// in dicts and queues. It is the only package that imports NATS.
//
// The server is embedded: it listens on nothing, is connected to in memory, and syncs its files every 100 ms, so a crash of the process
// loses nothing and a power failure at most the last moments. Or it is a cluster elsewhere, whose streams have replicas: what a lost connection or
// a server that is gone leaves without an answer is sent again, until others have taken over. Nothing that must never be lost has the flow as its
// only copy.
package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Defaults of an Engine.
const (
	// SyncInterval is how often the embedded server syncs its files when nothing else is asked for.
	SyncInterval = 100 * time.Millisecond
	// startTimeout bounds the server's start, which reads its files.
	startTimeout = time.Minute
	// requestTimeout bounds one request to the server where the caller's context has no deadline.
	requestTimeout = 10 * time.Second
)

// Limits of streams. Outputs of SYNC calls are there for clients whose session broke, who have at most a thousand unfinished inputs a
// call: those of large calls are purged before these limits are reached. Logs are for people.
const (
	outputsMaxAge   = time.Hour
	outputsMaxMsgs  = 200_000
	outputsMaxBytes = 4 << 30
	logsMaxAge      = 7 * 24 * time.Hour
	// maxStore is what the server may promise to streams. Its default is most of the free disk, of which the limits above would be taken as
	// reserved: a host with less free would not start at all, for space that it may never need.
	maxStore = 1 << 50
)

// DefaultLogsMaxBytes is how much of what containers write is kept.
const DefaultLogsMaxBytes = 16 << 30

const (
	inputsStream  = "IN"
	outputsStream = "OUTS"
	logsStream    = "LOGS"
)

// Config says where the flow is kept.
type Config struct {
	// Dir is the folder of the embedded server's files.
	Dir string
	// Cluster is the servers elsewhere, instead of the embedded one.
	Cluster Cluster
	// LogsMaxBytes is how much of what containers write is kept, of all apps together; 0: DefaultLogsMaxBytes.
	LogsMaxBytes int64
	// SyncAlways syncs every message before it is acknowledged, instead of every SyncInterval. Of servers elsewhere it says nothing.
	SyncAlways bool
	// SyncInterval is how often the embedded server syncs its files otherwise; 0: SyncInterval.
	SyncInterval time.Duration
}

// Engine is an open flow: a server and connections to it. It implements call.Flow and item.Log; Logs returns the logs. Safe for concurrent use.
type Engine struct {
	log       *slog.Logger
	cluster   Cluster
	server    *server.Server // nil: a cluster
	nc        *nats.Conn
	js        jetstream.JetStream
	pub       *publisher
	anchor    *anchor
	in        jetstream.Stream
	outs      jetstream.Stream
	logs      jetstream.Stream
	items     items
	objects   objects
	dicts     Dicts
	queues    Queues
	recovered uint64 // the last sequence of IN at the start

	subs   sync.Mutex
	taken  map[string]*subscription // by function; nil while it is being made
	closed chan struct{}            // closed when the connection has ended for good
}

// Open starts the embedded server, or connects to the cluster, and makes the streams that are missing.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Engine, error) {
	if cfg.LogsMaxBytes == 0 {
		cfg.LogsMaxBytes = DefaultLogsMaxBytes
	}
	if cfg.SyncInterval == 0 {
		cfg.SyncInterval = SyncInterval
	}
	e := &Engine{log: log, cluster: cfg.Cluster, taken: map[string]*subscription{}, closed: make(chan struct{})}
	e.anchor = &anchor{e: e}
	if !cfg.Cluster.on() {
		var err error
		if e.server, err = startServer(cfg, log); err != nil {
			return nil, err
		}
	}
	if err := e.connect(ctx, cfg); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func startServer(cfg Config, log *slog.Logger) (*server.Server, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName:        "skerry",
		DontListen:        true,
		JetStream:         true,
		JetStreamMaxStore: maxStore,
		// Each function in use has a consumer, and each reader of logs; the default is 1,000 of each.
		JetStreamLimits: server.JSLimitOpts{DefaultMaxConsumers: -1},
		StoreDir:        cfg.Dir,
		SyncInterval:    cfg.SyncInterval,
		SyncAlways:      cfg.SyncAlways,
		NoSigs:          true,
		MaxPayload:      2 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("flow %q: %w", cfg.Dir, err)
	}
	srv.SetLoggerV2(serverLog{log}, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(startTimeout) {
		srv.Shutdown()
		return nil, fmt.Errorf("flow %q: the server did not start within %s", cfg.Dir, startTimeout)
	}
	if !srv.JetStreamEnabled() {
		srv.Shutdown()
		return nil, fmt.Errorf("flow %q: no streams; the log has the cause", cfg.Dir)
	}
	return srv, nil
}

func (e *Engine) connect(ctx context.Context, cfg Config) error {
	var err error
	if e.nc, err = e.dial("gateway", func() { close(e.closed) }, e.reconnected); err != nil {
		return err
	}
	if e.js, err = jetstream.New(e.nc, jetstream.WithDefaultTimeout(e.attemptTimeout())); err != nil {
		return fmt.Errorf("flow: %w", err)
	}
	if e.pub, err = newPublisher(e.nc, e.cluster.on()); err != nil {
		return fmt.Errorf("flow: %w", err)
	}
	if e.in, err = e.stream(ctx, jetstream.StreamConfig{
		Name: inputsStream, Subjects: []string{"in.>", anchorSubject}, Retention: jetstream.WorkQueuePolicy,
		Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, MaxMsgsPerSubject: 1,
	}); err != nil {
		return err
	}
	if e.outs, err = e.stream(ctx, jetstream.StreamConfig{
		Name: outputsStream, Subjects: []string{"out.>"}, MaxAge: outputsMaxAge, MaxMsgs: outputsMaxMsgs, MaxBytes: outputsMaxBytes,
		AllowDirect: !cfg.Cluster.on(), // a cluster's leader knows all that was acknowledged
	}); err != nil {
		return err
	}
	if e.logs, err = e.stream(ctx, jetstream.StreamConfig{
		Name: logsStream, Subjects: []string{"log.>"}, MaxAge: logsMaxAge, MaxBytes: cfg.LogsMaxBytes, AllowDirect: true,
	}); err != nil {
		return err
	}
	if err := e.openItems(ctx); err != nil {
		return err
	}
	if err := e.openObjects(ctx); err != nil {
		return err
	}
	return e.recover(ctx)
}

func (e *Engine) stream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	cfg.Storage, cfg.NoAck, cfg.Replicas = jetstream.FileStorage, false, e.cluster.replicas()
	var s jetstream.Stream
	err := e.insist(ctx, func(ctx context.Context) (err error) {
		s, err = e.js.CreateOrUpdateStream(ctx, cfg)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("stream %q: %w", cfg.Name, err)
	}
	return s, nil
}

// recover notes what the stream held at the start, which may have been delivered before, and removes consumers of an earlier process.
func (e *Engine) recover(ctx context.Context) error {
	err := e.insist(ctx, func(ctx context.Context) error {
		info, err := e.in.Info(ctx)
		if err != nil {
			return err
		}
		e.recovered = info.State.LastSeq
		names := e.in.ConsumerNames(ctx)
		for name := range names.Name() {
			if err := e.in.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
				return fmt.Errorf("consumer %q: %w", name, err)
			}
		}
		return names.Err()
	})
	if err != nil {
		return fmt.Errorf("stream %q: %w", inputsStream, err)
	}
	return e.insist(ctx, e.anchor.drop)
}

// Close stops the server in good order. Call it after everything that uses the Engine; what is on its way fails as unavailable.
func (e *Engine) Close() error {
	e.anchor.wg.Wait()
	e.subs.Lock()
	for _, s := range e.taken {
		if s != nil {
			s.watch.end()
		}
	}
	e.subs.Unlock()
	if e.nc != nil {
		// What was published or acknowledged without waiting reaches the server before the connection ends.
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		err := errors.Join(e.closeItems(ctx), e.closeObjects(ctx), e.nc.FlushWithContext(ctx))
		e.nc.Close()
		<-e.closed
		if e.pub != nil {
			e.pub.breakAll(fault.New(fault.Unavailable, "flow: closed"))
		}
		if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			defer e.shutdown()
			return fmt.Errorf("flow: flush: %w", err)
		}
	}
	e.shutdown()
	return nil
}

func (e *Engine) shutdown() {
	if e.server == nil {
		return
	}
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

// Done is closed when the connection to the server has ended, by Close or because the server failed.
func (e *Engine) Done() <-chan struct{} { return e.closed }

// serverLog passes the server's warnings and errors on; the rest is of interest to nobody.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(string, ...any) {}
func (l serverLog) Debugf(string, ...any)  {}
func (l serverLog) Tracef(string, ...any)  {}
func (l serverLog) Warnf(format string, v ...any) {
	l.log.Warn("flow server", "message", fmt.Sprintf(format, v...))
}

func (l serverLog) Errorf(format string, v ...any) {
	l.log.Error("flow server", "message", fmt.Sprintf(format, v...))
}

func (l serverLog) Fatalf(format string, v ...any) {
	l.log.Error("flow server failed", "message", fmt.Sprintf(format, v...))
}
