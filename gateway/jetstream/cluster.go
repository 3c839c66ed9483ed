package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Defaults for a cluster.
const (
	// DefaultReplicas is how many servers of a cluster have each stream: one of three may be lost.
	DefaultReplicas = 3
	// attemptTimeout bounds one request to a cluster, whose server may be gone.
	attemptTimeout = 3 * time.Second
	// electionTimeout is for how long what has no answer is asked again: servers that are left elect others in a few seconds.
	electionTimeout = 30 * time.Second
	// electionPause is between two attempts. Nothing tells a client that there is a leader again.
	electionPause = 200 * time.Millisecond
	// minPayload is the largest message in bytes that a server must take: the servers' default. The largest of ours have half of that.
	minPayload = 1 << 20
)

// Cluster names NATS servers with JetStream that are started elsewhere.
type Cluster struct {
	// URLs is where they are, such as nats://a:4222,nats://b:4222; tls:// for TLS. Empty: there are none.
	URLs string
	// Credentials is a file that nsc made; empty: none, or what the URLs have.
	Credentials string
	// CA is a file of certificates to trust them by; empty: the system's.
	CA string
	// Replicas of each stream. Default: DefaultReplicas.
	Replicas int
}

func (c Cluster) on() bool { return c.URLs != "" }

func (c Cluster) replicas() int {
	switch {
	case !c.on():
		return 1
	case c.Replicas == 0:
		return DefaultReplicas
	default:
		return c.Replicas
	}
}

// attemptTimeout bounds one request where the caller's context has no deadline.
func (e *Engine) attemptTimeout() time.Duration {
	if e.cluster.on() {
		return attemptTimeout
	}
	return requestTimeout
}

// dial makes a connection: closed, if not nil, hears that it has ended for good, reconnected that it was lost and is there again, maybe with another
// server.
func (e *Engine) dial(name string, closed, reconnected func()) (*nats.Conn, error) {
	if e.cluster.on() {
		if err := CheckCluster(e.cluster.URLs); err != nil {
			return nil, err
		}
	}
	options := []nats.Option{nats.Name(name), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		e.log.Warn("flow", "connection", name, "error", err)
	})}
	if closed != nil {
		options = append(options, nats.ClosedHandler(func(*nats.Conn) { closed() }))
	}
	if !e.cluster.on() {
		options = append(options, nats.InProcessServer(e.server), nats.NoReconnect())
	} else {
		options = append(options, nats.MaxReconnects(-1), nats.ReconnectWait(electionPause), nats.Timeout(attemptTimeout),
			nats.PingInterval(10*time.Second), nats.ReconnectHandler(func(*nats.Conn) { reconnected() }))
		if e.cluster.Credentials != "" {
			options = append(options, nats.UserCredentials(e.cluster.Credentials))
		}
		if e.cluster.CA != "" {
			options = append(options, nats.RootCAs(e.cluster.CA))
		}
	}
	nc, err := nats.Connect(e.cluster.URLs, options...)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "flow: connect: %w", err)
	}
	if limit := nc.MaxPayload(); limit < minPayload {
		nc.Close()
		return nil, fault.New(fault.Precondition, "flow: the server takes messages of %d bytes at most; set its max_payload to 1MB or more", limit)
	}
	return nc, nil
}

// reconnected has what was on its way sent again, and what is to come asked for again: the server that was told is another.
func (e *Engine) reconnected() {
	e.log.Info("flow: connected again", "server", e.nc.ConnectedUrlRedacted())
	if e.pub != nil {
		e.pub.reconnected()
	}
	e.subs.Lock()
	defer e.subs.Unlock()
	for _, s := range e.taken {
		if s != nil {
			s.restart(0)
		}
	}
}

// insist calls f, again while a cluster has nobody who could answer, for electionTimeout. F is harmless to repeat, and to be done late.
func (e *Engine) insist(ctx context.Context, f func(ctx context.Context) error) error {
	return e.insistFor(ctx, attemptTimeout, f)
}

// insistFor is insist for what may take longer than attemptTimeout.
func (e *Engine) insistFor(ctx context.Context, timeout time.Duration, f func(ctx context.Context) error) error {
	if !e.cluster.on() {
		return f(ctx)
	}
	for begun := time.Now(); ; {
		attempt, cancel := context.WithTimeout(ctx, timeout)
		err := f(attempt)
		cancel()
		if err == nil || ctx.Err() != nil || time.Since(begun) > electionTimeout || !passing(err) {
			return err
		}
		pause := time.NewTimer(electionPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}

// Codes of a cluster's errors that pass.
const (
	codeClusterNotAvailable = 10008
	codeStreamNotAvailable  = 10118 // it is being restored
	codeInsufficient        = 10023 // a peer is missing
	codeClusterIncomplete   = 10004
	codeNotLeader           = 10009
	codeInProcess           = 10158 // a message of the same id is on its way into the stream
)

// passing says whether an error means that a cluster is electing servers, or that one did not answer.
func passing(err error) bool {
	for _, e := range []error{
		nats.ErrNoResponders, nats.ErrTimeout, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrNoServers, nats.ErrStaleConnection,
		context.DeadlineExceeded, nats.ErrReconnectBufExceeded, jetstream.ErrNoStreamResponse, errBehind,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && passingCode(int(api.ErrorCode), api.Description)
}

func passingCode(code int, description string) bool {
	switch code {
	case codeClusterNotAvailable, codeStreamNotAvailable, codeInsufficient, codeClusterIncomplete, codeNotLeader, codeInProcess:
		return true
	}
	return strings.Contains(description, "raft:") || // such as that a proposal was given up
		strings.Contains(description, "peer offline") || // one that has just come again is not known to all yet
		strings.Contains(description, "error creating store") // a server still removes the files of a stream of that name that was deleted
}

// lastMessage returns the last message of a subject. Errors: jetstream.ErrMsgNotFound.
func (e *Engine) lastMessage(ctx context.Context, from jetstream.Stream, subject string) (m *jetstream.RawStreamMsg, err error) {
	err = e.insist(ctx, func(ctx context.Context) (err error) {
		m, err = from.GetLastMsgForSubject(ctx, subject)
		return err
	})
	return m, err
}

// Used says whether a cluster has streams already.
func Used(ctx context.Context, c Cluster, log *slog.Logger) (bool, error) {
	e := &Engine{cluster: c, log: log}
	nc, err := e.dial("skerryd", nil, func() {})
	if err != nil {
		return false, err
	}
	defer nc.Close()
	if e.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(attemptTimeout)); err != nil {
		return false, fmt.Errorf("flow: %w", err)
	}
	names, err := e.StreamNames(ctx)
	return len(names) > 0, err
}

// CheckCluster returns a fault.Invalid unless urls are those of NATS servers.
func CheckCluster(urls string) error {
	for u := range strings.SplitSeq(urls, ",") {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(u), "://")
		if (scheme != "nats" && scheme != "tls") || rest == "" {
			return fault.New(fault.Invalid, "nats: want nats://host:4222,nats://other:4222, or tls://")
		}
	}
	return nil
}

// errGivenUp is what became of a message that a cluster has not acknowledged in time: it may be stored, and may not.
func errGivenUp(after time.Duration) error {
	return fault.New(fault.Unavailable, "%w", fmt.Errorf("flow: no server has acknowledged it for %s", after))
}
