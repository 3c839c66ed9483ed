package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/skerry-dev/skerry/gateway/backup"
	"github.com/skerry-dev/skerry/internal/fault"
)

var _ backup.Flow = (*Engine)(nil)

// copyTimeout bounds the wait for one piece of a stream: the server packs it first, which takes as long as its files are large.
const copyTimeout = 5 * time.Minute

// copyPiece is how much of a stream goes in one message, in bytes.
const copyPiece = 128 << 10

// description is what a server says of a stream that it saves, and has to be told of one that it is to restore.
type description struct {
	Config map[string]any  `json:"config"`
	State  json.RawMessage `json:"state"`
}

// answer is what a server says to a request for a copy.
type answer struct {
	description

	DeliverSubject string `json:"deliver_subject,omitempty"`
	Error          *struct {
		Code        int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error,omitempty"`
}

// StreamNames implements backup.Flow.
func (e *Engine) StreamNames(ctx context.Context) (all []string, err error) {
	err = e.insist(ctx, func(ctx context.Context) error {
		all = nil
		names := e.js.StreamNames(ctx)
		for name := range names.Name() {
			all = append(all, name)
		}
		return names.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("flow: streams: %w", err)
	}
	return all, nil
}

// Still implements backup.Flow: of what is in dicts the server may copy neither the old nor the new where one takes the other's place meanwhile, and a
// change of many entries is known by its intent.
func (e *Engine) Still(context.Context) (streams []string, release func(), err error) {
	d := &e.dicts
	d.still.Lock()
	return []string{intentsStream, popsStream, entriesStream}, d.still.Unlock, nil
}

// SaveStream implements backup.Flow. Consumers are not in it: whoever has one makes it again.
func (e *Engine) SaveStream(ctx context.Context, name string, to io.Writer) (json.RawMessage, error) {
	inbox := nats.NewInbox()
	sub, err := e.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "stream %q: %w", name, err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // fails only once the connection is closed
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	a, err := e.ask(ctx, "$JS.API.STREAM.SNAPSHOT."+name, map[string]any{
		"deliver_subject": inbox, "no_consumers": true, "chunk_size": copyPiece, "jsck": true,
	})
	if err != nil {
		return nil, fmt.Errorf("stream %q: %w", name, err)
	}
	for {
		m, err := next(ctx, sub)
		if err != nil {
			return nil, fault.New(fault.Unavailable, "stream %q: %w", name, err)
		}
		if len(m.Data) == 0 {
			if status := m.Header.Get("Status"); status != "" && status != "204" {
				return nil, fault.New(fault.Unavailable, "stream %q: status %s: %s", name, status, m.Header.Get("Description"))
			}
			return json.Marshal(a.description)
		}
		if _, err := to.Write(m.Data); err != nil {
			return nil, err
		}
		if m.Reply == "" {
			continue
		}
		// The server waits for these, and so sends no faster than is written.
		if err := m.Respond(nil); err != nil {
			return nil, fault.New(fault.Unavailable, "stream %q: %w", name, err)
		}
	}
}

func next(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}

// ReplaceStream implements backup.Flow.
func (e *Engine) ReplaceStream(ctx context.Context, name string, described json.RawMessage, from io.Reader) error {
	var d description
	if err := json.Unmarshal(described, &d); err != nil {
		return fault.New(fault.DataLoss, "stream %q: %w", name, err)
	}
	if d.Config["name"] != name {
		return fault.New(fault.DataLoss, "stream %q: is described as %v", name, d.Config["name"])
	}
	d.Config["num_replicas"] = e.cluster.replicas()
	err := e.insist(ctx, func(ctx context.Context) error { return e.js.DeleteStream(ctx, name) })
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("stream %q: %w", name, err)
	}
	a, err := e.ask(ctx, "$JS.API.STREAM.RESTORE."+name, d)
	if err != nil {
		return fmt.Errorf("stream %q: %w", name, err)
	}
	buf := make([]byte, copyPiece)
	for {
		n, err := io.ReadFull(from, buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		// What is empty is the end.
		if _, err := e.ask(ctx, a.DeliverSubject, buf[:n]); err != nil {
			return fmt.Errorf("stream %q: %w", name, err)
		}
		if n == 0 {
			return nil
		}
	}
}

// ask sends a request, as JSON unless it is bytes.
func (e *Engine) ask(ctx context.Context, subject string, body any) (*answer, error) {
	data, ok := body.([]byte)
	if !ok {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	m, err := e.heard(ctx, subject, data)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "flow: %w", err)
	}
	a := &answer{}
	if len(m.Data) > 0 {
		if err := json.Unmarshal(m.Data, a); err != nil {
			return nil, fmt.Errorf("flow: %w", err)
		}
	}
	if a.Error != nil {
		return nil, fault.New(fault.Unavailable, "flow: %s", a.Error.Description)
	}
	return a, nil
}

// heard sends a request, again while no server hears it, which has then done nothing: in a cluster it takes a moment until all servers know
// who listens at a subject.
func (e *Engine) heard(ctx context.Context, subject string, data []byte) (*nats.Msg, error) {
	whole, cancel := context.WithTimeout(ctx, electionTimeout)
	defer cancel()
	for {
		m, err := e.nc.RequestWithContext(ctx, subject, data)
		if !errors.Is(err, nats.ErrNoResponders) || !e.cluster.on() {
			return m, err
		}
		pause := time.NewTimer(electionPause)
		select {
		case <-pause.C:
		case <-whole.Done():
			pause.Stop()
			return nil, err
		}
	}
}
