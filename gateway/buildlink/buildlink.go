// Package buildlink is the gateway's end of the links that image builders dial: it takes the connection over and has images built on it.
package buildlink

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/gen/skerry/build/v1/buildv1connect"
	"github.com/skerry-dev/skerry/internal/link"
)

// Path is where builders ask for a link.
const Path = "/skerry.build.v1/link"

// DefaultConnectWait is how long a request waits for a builder where none is connected, as just after a start.
const DefaultConnectWait = 15 * time.Second

// maxMessage bounds one message of a builder in bytes.
const maxMessage = 16 << 20

var _ image.Builder = (*Hub)(nil)

// Hub keeps the links to builders and has images built on the one with the fewest builds. It is the http.Handler of Path, behind the
// authentication of builders, and safe for concurrent use.
type Hub struct {
	log    *slog.Logger
	wait   time.Duration
	layers Layers
	blobs  cas.Claimer

	mu      sync.Mutex
	links   map[*builder]struct{}
	uses    map[*use]struct{} // of volumes by builds
	joined  chan struct{}     // closed, and replaced, when a builder joins
	closed  bool
	serving sync.WaitGroup
}

type builder struct {
	link   *link.Client
	client buildv1connect.BuilderServiceClient
	token  string // id of the token that it joined with
	own    bool   // it is a part of this process
	builds int    // under Hub.mu
}

// Deps are the parts of a Hub. Layers may be nil: builders then share nothing. The others are required.
type Deps struct {
	Layers Layers
	Blobs  cas.Claimer // where builders store images
	Log    *slog.Logger
}

// New returns a Hub; wait 0 is DefaultConnectWait.
func New(wait time.Duration, d Deps) *Hub {
	if wait == 0 {
		wait = DefaultConnectWait
	}
	return &Hub{log: d.Log, wait: wait, layers: d.Layers, blobs: d.Blobs, links: map[*builder]struct{}{}, uses: map[*use]struct{}{}, joined: make(chan struct{})}
}

// ServeHTTP takes the connection over and returns when the link has ended.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := link.Upgrade(w, r)
	if err != nil {
		h.log.Warn("builder link refused", "peer", r.RemoteAddr, "error", err)
		return
	}
	c, err := link.NewClient(conn)
	if err != nil {
		h.log.Warn("builder link failed", "peer", r.RemoteAddr, "error", err)
		return
	}
	b := &builder{link: c, client: buildv1connect.NewBuilderServiceClient(c.HTTPClient(), link.BaseURL,
		connect.WithReadMaxBytes(maxMessage), connect.WithAcceptCompression("gzip", nil, nil))}
	if t := identity.Caller(r.Context()); t != nil {
		b.token, b.own = t.ID, t.Ephemeral
	}
	if !h.join(b) {
		_ = c.Close() // the gateway stops; the builder sees the end of the connection
		return
	}
	h.log.Info("builder joined", "peer", r.RemoteAddr)
	<-c.Done()
	h.leave(b)
	h.log.Info("builder left", "peer", r.RemoteAddr)
}

func (h *Hub) join(b *builder) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.serving.Add(1)
	h.links[b] = struct{}{}
	close(h.joined)
	h.joined = make(chan struct{})
	return true
}

func (h *Hub) leave(b *builder) {
	h.mu.Lock()
	delete(h.links, b)
	h.mu.Unlock()
	h.serving.Done()
}

// Close ends all links and waits for them.
func (h *Hub) Close() error {
	h.mu.Lock()
	h.closed = true
	for b := range h.links {
		_ = b.link.Close() // it only says that the connection was closed before
	}
	h.mu.Unlock()
	h.serving.Wait()
	return nil
}

// acquire returns the builder with the fewest builds, but for some, and counts one more on it, until release. It waits for the first builder;
// errNoOther says that there is none but those that are not wanted.
func (h *Hub) acquire(ctx context.Context, but map[*builder]bool) (b *builder, release func(), err error) {
	limit := time.NewTimer(h.wait)
	defer limit.Stop()
	for {
		h.mu.Lock()
		for candidate := range h.links {
			if candidate.link.Usable() && !but[candidate] && (b == nil || candidate.builds < b.builds) {
				b = candidate
			}
		}
		if b != nil {
			b.builds++
		}
		joined := h.joined
		h.mu.Unlock()
		switch {
		case b != nil:
			return b, func() { h.release(b) }, nil
		case len(but) > 0:
			return nil, nil, errNoOther
		}
		select {
		case <-joined:
		case <-limit.C:
			return nil, nil, fault.New(fault.Unavailable, "no image builder is connected; the gateway's log says why")
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

func (h *Hub) release(b *builder) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b.builds--
}
