package workerlink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/portstream"
)

// A worker keeps a second link, for what goes into and out of sandboxes: it can't hold up control.
const (
	// dataKind is the query parameter "kind" of a request for a data link.
	dataKind = "data"
	// WorkerHeader names the worker in it.
	WorkerHeader = "X-Skerry-Worker"
	// ReasonHeader says, in an answer to a request for a port, why it is not reached; its body may be an error of Connect's as well.
	ReasonHeader = "X-Skerry-Reason"
	// linkWait is how long is waited for a link whose worker has another one.
	linkWait = 5 * time.Second
	// maxReason bounds such a body in bytes.
	maxReason = 4 << 10
)

// serveData holds a worker's data link to its end.
func (h *Hub) serveData(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(WorkerHeader)
	if err := ident.Check(ident.Worker, id); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	known := func() bool { return h.TokenOf(id) != "" }
	if err := h.await(r.Context(), known); err != nil {
		http.Error(w, "the worker's control link comes first", http.StatusConflict)
		return
	}
	if t := identity.Caller(r.Context()); t == nil || t.ID != h.TokenOf(id) {
		http.Error(w, "the worker's control link comes first, with the same token", http.StatusForbidden)
		return
	}
	conn, err := link.Upgrade(w, r)
	if err != nil {
		h.log.Warn("data link refused", "worker", id, "error", err)
		return
	}
	client, err := link.NewDataClient(conn)
	if err != nil {
		h.log.Warn("data link failed", "worker", id, "error", err)
		return
	}
	defer client.Close() //nolint:errcheck // a second close of a connection that ended says nothing new
	if !h.enterData(id, client) {
		return
	}
	defer h.wg.Done()
	<-client.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.data[id] == client {
		delete(h.data, id)
	}
}

// enterData adds a data link, which wg then counts; one that was there ends.
func (h *Hub) enterData(id string, client *link.Client) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	if old := h.data[id]; old != nil {
		_ = old.Close() // the worker has given it up
	}
	h.data[id] = client
	h.another()
	h.wg.Add(1)
	return true
}

// another says that there is another link; the mutex is held.
func (h *Hub) another() {
	close(h.more)
	h.more = make(chan struct{})
}

// await waits until something is there that comes with a link; its worker dials both at once. It returns ctx's error, or that of linkWait.
func (h *Hub) await(ctx context.Context, there func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, linkWait)
	defer cancel()
	for {
		h.mu.Lock()
		more := h.more
		h.mu.Unlock()
		if there() {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Data returns a worker's data link, which may be about to come, or a fault.Unavailable.
func (h *Hub) Data(ctx context.Context, workerID string) (to http.RoundTripper, err error) {
	_ = h.await(ctx, func() bool { // err says as much
		to, err = h.usable(workerID)
		return err == nil
	})
	return to, err
}

func (h *Hub) usable(workerID string) (http.RoundTripper, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.data[workerID]; c != nil && c.Usable() {
		return c, nil
	}
	return nil, fault.New(fault.Unavailable, "worker %q: is not connected at the moment; try again", workerID)
}

// PortConn is a connection to a port in a sandbox. Reading, writing and closing may go on at the same time.
type PortConn struct {
	io.Reader
	*io.PipeWriter
	cancel context.CancelCauseFunc
	body   io.ReadCloser
	stream *portstream.Reader // of body; nil: the port's bytes as they are
	wrote  atomic.Bool        // nothing more is written
	closed atomic.Bool
}

// CloseWrite says that nothing more is written; reading goes on.
func (c *PortConn) CloseWrite() error {
	c.wrote.Store(true)
	return c.PipeWriter.Close()
}

// Close ends the connection. Where both directions have ended it waits until the port has been given all that was written; a second Close ends
// that.
func (c *PortConn) Close() error {
	if !c.closed.Swap(true) && c.stream != nil && c.stream.Ended() && c.wrote.Load() {
		_, _ = c.body.Read(make([]byte, 1)) // it ends then, and has nothing more to say
	}
	c.cancel(errors.New("connection closed"))
	return errors.Join(c.PipeWriter.Close(), c.body.Close())
}

// DialPort connects to a port in a sandbox of a worker, and waits for the worker's data link; ctx is for the connecting alone. Errors:
// fault.NotFound where nothing listens at the port, fault.Precondition where the sandbox has ended, fault.Unavailable where the link is lost.
func (h *Hub) DialPort(ctx context.Context, workerID, sandboxID string, port uint16) (*PortConn, error) {
	to, err := h.Data(ctx, workerID)
	if err != nil {
		return nil, err
	}
	life, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	defer stop()
	body, in := io.Pipe()
	url := link.BaseURL + "/sandboxes/" + sandboxID + "/ports/" + strconv.Itoa(int(port))
	req, err := http.NewRequestWithContext(life, http.MethodPost, url, body)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("port %d of sandbox %q: %w", port, sandboxID, err)
	}
	req.Header.Set(portstream.Header, portstream.Version)
	res, err := to.RoundTrip(req)
	if err != nil {
		cancel(err)
		return nil, fault.New(fault.Unavailable, "port %d of sandbox %q: %w", port, sandboxID, err)
	}
	if res.StatusCode != http.StatusOK {
		defer cancel(nil)
		defer res.Body.Close() // it has said what it has to say
		return nil, portFault(res)
	}
	conn := &PortConn{Reader: res.Body, PipeWriter: in, cancel: cancel, body: res.Body}
	if res.Header.Get(portstream.Header) == portstream.Version { // else of a release before, where the port's end is that of both directions
		conn.stream = portstream.NewReader(res.Body)
		conn.Reader = conn.stream
	}
	return conn, nil
}

// portFault says why a port is not reached. What answers is not to be trusted: its kind is one of those that may be, its text is short.
func portFault(res *http.Response) error {
	var said struct {
		Code    connect.Code `json:"code"`
		Message string       `json:"message"`
	}
	if text, err := io.ReadAll(io.LimitReader(res.Body, maxReason)); err != nil || json.Unmarshal(text, &said) != nil {
		said.Code = 0
	}
	if reason := res.Header.Get(ReasonHeader); reason != "" {
		said.Message = reason
	}
	if said.Message == "" {
		said.Message = res.Status
	}
	kind := fault.Unavailable
	switch {
	case res.StatusCode == http.StatusBadGateway:
		kind = fault.NotFound // init's word: it has tried to connect
	case said.Code == connect.CodeNotFound || said.Code == connect.CodeFailedPrecondition:
		kind = fault.Precondition // the worker's: the sandbox is not there any more
	}
	return fault.New(kind, "%.200s", said.Message)
}
