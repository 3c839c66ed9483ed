package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/testbase"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/gatewaylink"
	"github.com/skerry-dev/skerry/worker/volume/shelf"
)

const token = "tk-1.secret"

// gateway is the other end of a worker's links, over real connections.
type gateway struct {
	workerv1connect.UnimplementedBulkServiceHandler
	server *httptest.Server
	source *memorySource
	shelf  *shelf.Shelf
	links  chan *link.Client
	data   chan *link.Client // data links
	image  string            // digest of the test base
	base   string

	mu      sync.Mutex
	logs    strings.Builder
	frames  map[string]*frames // by container
	ended   chan string        // containers whose output is complete
	refused bool               // PushLogs ends at once, without an acknowledgement
}

func newGateway(t testing.TB) *gateway {
	t.Helper()
	g := &gateway{source: newMemorySource(t), links: make(chan *link.Client, 8), data: make(chan *link.Client, 8), ended: make(chan string, 100), base: testbase.Erofs(t)}
	mux := http.NewServeMux()
	mux.HandleFunc(gatewaylink.Path, func(w http.ResponseWriter, r *http.Request) {
		conn, err := link.Upgrade(w, r)
		if err != nil {
			return
		}
		to, begin := g.links, link.NewClient
		if r.URL.RawQuery == gatewaylink.DataQuery && r.Header.Get(gatewaylink.WorkerHeader) != "" {
			to, begin = g.data, link.NewDataClient
		}
		client, err := begin(conn)
		if err != nil {
			return
		}
		to <- client
		<-client.Done()
	})
	path, bulk := workerv1connect.NewBulkServiceHandler(g)
	mux.Handle(path, bulk)
	g.shelf = shelf.New(g.source)
	mux.Handle(workerv1connect.NewVolumeStoreServiceHandler(shelfService{g.shelf}))
	g.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	g.server.Config.Protocols = new(http.Protocols)
	g.server.Config.Protocols.SetHTTP1(true)
	g.server.Config.Protocols.SetUnencryptedHTTP2(true)
	g.server.Start()
	return g
}

func (g *gateway) FetchTree(ctx context.Context, r *connect.Request[workerv1.FetchTreeRequest]) (*connect.Response[workerv1.FetchTreeResponse], error) {
	files, err := g.source.Tree(ctx, r.Msg.GetTreeDigest())
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	res := &workerv1.FetchTreeResponse{}
	for _, f := range files {
		res.Files = append(res.Files, &workerv1.TreeFile{Path: f.Path, Blob: wire.RefToProto(f.Blob), Mode: uint32(f.Mode)})
	}
	return connect.NewResponse(res), nil
}

func (g *gateway) FetchBlob(ctx context.Context, r *connect.Request[workerv1.FetchBlobRequest], s *connect.ServerStream[workerv1.FetchBlobResponse]) error {
	var from io.ReadCloser
	var err error
	if r.Msg.GetDigest() == g.image {
		from, err = os.Open(g.base)
	} else {
		ref := g.source.ref(r.Msg.GetDigest())
		from, err = g.source.Open(ctx, ref)
	}
	if err != nil {
		return fault.ToConnect(err)
	}
	defer from.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if err := s.Send(&workerv1.FetchBlobResponse{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (g *gateway) StoreBlob(_ context.Context, s *connect.ClientStream[workerv1.StoreBlobRequest]) (*connect.Response[workerv1.StoreBlobResponse], error) {
	var data []byte
	for s.Receive() {
		data = append(data, s.Msg().GetData()...)
		if b := s.Msg().GetBlob(); b != nil && g.source.blob(string(data)).Digest != b.GetDigest() {
			return nil, connect.NewError(connect.CodeInvalidArgument, io.ErrUnexpectedEOF)
		}
	}
	return connect.NewResponse(&workerv1.StoreBlobResponse{}), s.Err()
}

func (g *gateway) PushLogs(_ context.Context, s *connect.BidiStream[workerv1.PushLogsRequest, workerv1.PushLogsResponse]) error {
	for {
		m, err := s.Receive()
		if err != nil {
			return err
		}
		g.mu.Lock()
		if g.refused {
			g.refused = false
			g.mu.Unlock()
			return connect.NewError(connect.CodeUnavailable, io.ErrClosedPipe)
		}
		g.store(m)
		g.mu.Unlock()
		if m.GetEof() {
			g.ended <- m.GetContainerId()
		}
		if err := s.Send(&workerv1.PushLogsResponse{ContainerId: m.GetContainerId(), Sequence: m.GetSequence()}); err != nil {
			return err
		}
	}
}

// frames is what a container has written. The last sequence is remembered, as the real gateway does.
type frames struct {
	last uint64
	text strings.Builder
}

// store keeps a frame once; the mutex is held.
func (g *gateway) store(m *workerv1.PushLogsRequest) {
	if g.frames == nil {
		g.frames = map[string]*frames{}
	}
	f := g.frames[m.GetContainerId()]
	if f == nil {
		f = &frames{}
		g.frames[m.GetContainerId()] = f
	}
	if m.GetSequence() <= f.last {
		return
	}
	f.last = m.GetSequence()
	for _, e := range m.GetEntries() {
		g.logs.WriteString(e.GetText())
		f.text.WriteString(e.GetText())
	}
}

// textOf is what a container has written.
func (g *gateway) textOf(id string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.frames[id]; f != nil {
		return f.text.String()
	}
	return ""
}

func (g *gateway) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.logs.String()
}

// baseRef names the test base by content.
func (g *gateway) baseRef(t testing.TB) (digest string, size uint64) {
	t.Helper()
	f, err := os.Open(g.base)
	ok(t, err)
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	ok(t, err)
	g.image = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return g.image, uint64(n)
}

// cacheBase puts the test base into a worker's cache: it would be fetched else, which takes half a minute where others load the host. TestAgent does
// that.
func (g *gateway) cacheBase(t testing.TB, data string) {
	t.Helper()
	digest, _ := g.baseRef(t)
	cached := filepath.Join(data, "cache", "blobs")
	ok(t, os.MkdirAll(cached, 0o700))
	ok(t, os.Symlink(g.base, filepath.Join(cached, strings.TrimPrefix(digest, "sha256:"))))
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id") // what is not of this boot is not kept
	ok(t, err)
	ok(t, os.WriteFile(filepath.Join(data, "cache", "boot"), boot, 0o600))
}
