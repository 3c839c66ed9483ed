package workerlink_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/logs"
	"github.com/skerry-dev/skerry/gateway/rpc"
	"github.com/skerry-dev/skerry/gateway/workerlink"
	"github.com/skerry-dev/skerry/internal/fault"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
)

// written are the sequences of the frames that are stored, by container.
type written struct {
	mu     sync.Mutex
	frames map[string][]uint64
}

func (w *written) Push(_ context.Context, f logs.Frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frames[f.ContainerID] = append(w.frames[f.ContainerID], f.Sequence)
	return nil
}

// as lets requests through as those of a token, as authentication does.
func as(token string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(identity.WithCaller(r.Context(), &identity.Token{ID: token})))
	})
}

// pusher opens streams for logs with a token.
func pusher(t *testing.T, r *rig, w *written, token string) workerv1connect.BulkServiceClient {
	t.Helper()
	_, handler := workerlink.NewBulkHandler(workerlink.BulkDeps{Logs: w, Owners: r.hub}, rpc.Options(discard))
	server := httptest.NewUnstartedServer(as(token, handler))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return workerv1connect.NewBulkServiceClient(server.Client(), server.URL)
}

// push sends one frame and returns the answer's error.
func push(t *testing.T, c workerv1connect.BulkServiceClient, containerID string, sequence uint64) error {
	t.Helper()
	stream := c.PushLogs(t.Context())
	defer stream.CloseResponse()
	if err := stream.Send(&workerv1.PushLogsRequest{ContainerId: containerID, Sequence: sequence}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Receive()
	if err != nil {
		return fault.FromConnect(err)
	}
	if answer.GetContainerId() != containerID || answer.GetSequence() != sequence {
		t.Errorf("acknowledged: %v", answer)
	}
	return stream.CloseRequest()
}

// TestLogsComeFromTheContainersWorker takes output of a container from the worker that has it alone, while it runs and after it has ended.
func TestLogsComeFromTheContainersWorker(t *testing.T) {
	const own, other = "own", "other"
	r, w := newRig(t), newWorker()
	server := httptest.NewServer(as(own, r.hub))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	cut := w.dial(t, server.URL)
	r.offer(t, 0)
	<-r.finished
	id := (<-w.starts).GetContainerId()
	kept := &written{frames: map[string][]uint64{}}
	mine, theirs := pusher(t, r, kept, own), pusher(t, r, kept, other)
	if err := push(t, mine, id, 1); err != nil {
		t.Error(err)
	}
	if err := push(t, theirs, id, 2); connect.CodeOf(fault.ToConnect(err)) != connect.CodePermissionDenied {
		t.Errorf("another worker's: %v", err)
	}
	done := r.scheduler.AppDone(r.fn.AppID)
	cut()
	<-done
	if err := push(t, mine, id, 3); err != nil {
		t.Errorf("after its end: %v", err)
	}
	if err := push(t, theirs, id, 4); connect.CodeOf(fault.ToConnect(err)) != connect.CodePermissionDenied {
		t.Errorf("another worker's, after its end: %v", err)
	}
	unknown := ident.New(ident.Container)
	if err := push(t, mine, unknown, 1); err != nil {
		t.Errorf("of a container that nobody knows: %v", err)
	}
	if len(kept.frames) != 1 || !slices.Equal(kept.frames[id], []uint64{1, 3}) {
		t.Errorf("stored: %v", kept.frames)
	}
}
