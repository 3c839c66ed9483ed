package workerlink_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/callrpc"
	"github.com/skerry-dev/skerry/gateway/fleet"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/jetstream"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/gateway/workerlink"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
)

// noBlobs is for payloads that are all small.
type noBlobs struct{ call.Blobs }

// session is a whole gateway for calls, over loopback, with a worker that echoes, and a client's session.
func session(b *testing.B, containers int) (*connect.BidiStreamForClient[skerryv1.SessionRequest, skerryv1.SessionResponse], *function.Function) {
	b.Helper()
	log, dir := slog.New(slog.DiscardHandler), b.TempDir()
	engine, err := jetstream.Open(b.Context(), jetstream.Config{Dir: filepath.Join(dir, "flow")}, log)
	if err != nil {
		b.Fatal(err)
	}
	db, err := sqlstore.Open(b.Context(), filepath.Join(dir, "db"))
	if err != nil {
		b.Fatal(err)
	}
	r := &rig{finished: make(chan task.Outcome, 1), outputs: make(chan string, 1000), fn: &function.Function{
		ID: ident.New(ident.Function), AppID: ident.New(ident.App), Version: 1,
		Definition: function.Definition{Autoscaler: function.Autoscaler{MinContainers: containers, ScaledownWindow: time.Hour}},
	}}
	r.scheduler = task.New(task.Deps{Functions: r, Images: r, Secrets: r, Fleet: fleet.New(), Clock: task.SystemClock, Log: log})
	calls := call.New(call.Deps{Flow: engine, Records: db, Blobs: noBlobs{}, Dispatcher: r.scheduler, Clock: task.SystemClock, Log: log})
	r.scheduler.SetSink(calls)
	r.hub = workerlink.New(workerlink.Deps{
		Scheduler: r.scheduler, Sandboxes: sandbox.New(sandbox.Deps{Log: log}), Outputs: r, EnvironmentName: strings.ToUpper, Log: log,
	})
	mux := http.NewServeMux()
	mux.Handle(workerlink.Path, r.hub)
	mux.Handle(skerryv1connect.NewCallServiceHandler(callrpc.NewService(calls), connect.WithCompression("gzip", nil, nil)))
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = calls.Run(ctx) })
	running.Go(func() { _ = r.scheduler.Run(ctx) })
	b.Cleanup(func() {
		cancel()
		running.Wait()
		_ = r.hub.Close() // the worker has been told to go, and the link may have ended before
		server.CloseClientConnections()
		server.Close()
		if err := errors.Join(engine.Close(), db.Close()); err != nil {
			b.Error(err)
		}
	})
	w := newWorker()
	w.dial(b, server.URL)
	if err := r.scheduler.Published(b.Context(), []*function.Function{r.fn}, false); err != nil {
		b.Fatal(err)
	}
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	client := skerryv1connect.NewCallServiceClient(&http.Client{Transport: transport}, server.URL)
	return client.Session(ctx), r.fn
}

func submit(id string, fn *function.Function, from, n uint32) *skerryv1.SessionRequest {
	m := &skerryv1.Submit{CallId: id, FunctionId: fn.ID, Kind: skerryv1.CallKind_CALL_KIND_SYNC}
	for i := range n {
		args := &skerryv1.Payload{Format: 1, Content: &skerryv1.Payload_Inline{Inline: make([]byte, 40)}}
		m.Inputs = append(m.Inputs, &skerryv1.Input{Index: from + i, Args: args})
	}
	return &skerryv1.SessionRequest{Submits: []*skerryv1.Submit{m}}
}

// BenchmarkSession measures a gateway from the client's socket to the worker's and back, with Go at both ends: the time per input.
func BenchmarkSession(b *testing.B) {
	b.Run("single", func(b *testing.B) { benchmarkSession(b, 1, 1, 1) })
	b.Run("map", func(b *testing.B) { benchmarkSession(b, 2, 50, 900) })
}

func benchmarkSession(b *testing.B, containers, frame, window int) {
	stream, fn := session(b, containers)
	id := ident.New(ident.Call)
	sent, got := 0, 0
	for b.Loop() {
		if sent%frame == 0 {
			if err := stream.Send(submit(id, fn, uint32(sent), uint32(frame))); err != nil {
				b.Fatal(err)
			}
		}
		sent++
		for sent-got >= window {
			m, err := stream.Receive()
			if err != nil {
				b.Fatal(err)
			}
			if len(m.GetRefused()) > 0 {
				b.Fatal(m.GetRefused())
			}
			got += len(m.GetOutputs())
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
