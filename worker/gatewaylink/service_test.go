package gatewaylink

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"connectrpc.com/connect"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
)

// startFrame is a first frame that a worker takes.
func startFrame() *workerv1.StartContainer {
	return &workerv1.StartContainer{
		ContainerId: ident.New(ident.Container),
		Image:       &skerryv1.BlobRef{Digest: ident.Digest([]byte("image")), Size: 5},
		Definition:  &skerryv1.FunctionDefinition{Name: "f"},
	}
}

func inline(n int) *skerryv1.Payload {
	return &skerryv1.Payload{
		Format: skerryv1.PayloadFormat_PAYLOAD_FORMAT_PICKLE, Content: &skerryv1.Payload_Inline{Inline: make([]byte, n)},
	}
}

type runClient = connect.BidiStreamForClient[workerv1.RunContainerRequest, workerv1.RunContainerResponse]

// open sends a first frame.
func open(t *testing.T, client workerv1connect.WorkerServiceClient, first *workerv1.RunContainerRequest) *runClient {
	t.Helper()
	stream := client.RunContainer(t.Context())
	if err := stream.Send(first); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.CloseResponse() }) // most have ended
	return stream
}

// TestFirstFrames checks that nothing is started for what is not complete.
func TestFirstFrames(t *testing.T) {
	_, p, client := serve(t)
	for name, change := range map[string]func(*workerv1.StartContainer){
		"no id":           func(m *workerv1.StartContainer) { m.ContainerId = "" },
		"a path":          func(m *workerv1.StartContainer) { m.ContainerId = "ta-../../etc" },
		"another's id":    func(m *workerv1.StartContainer) { m.ContainerId = ident.New(ident.Function) },
		"no image":        func(m *workerv1.StartContainer) { m.Image = nil },
		"image of a path": func(m *workerv1.StartContainer) { m.Image.Digest = "sha256:../../etc/passwd" },
		"large function":  func(m *workerv1.StartContainer) { m.Definition.Serialized = inline(payload.MaxInline + 1) },
		"empty function":  func(m *workerv1.StartContainer) { m.Definition.Serialized = &skerryv1.Payload{} },
		"function's blob": func(m *workerv1.StartContainer) { m.Definition.Serialized = blobOf("x", payload.MaxSize+1) },
		"unknown encoding": func(m *workerv1.StartContainer) {
			m.Definition.Serialized = inline(1)
			m.Definition.Serialized.Format = 77
		},
	} {
		m := startFrame()
		change(m)
		_, err := open(t, client, &workerv1.RunContainerRequest{Start: m}).Receive()
		if connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := open(t, client, &workerv1.RunContainerRequest{}).Receive(); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a frame without a start: %v", err)
	}
	select {
	case id := <-p.asked:
		t.Errorf("container %q was started", id)
	default:
	}
}

func blobOf(text string, size uint64) *skerryv1.Payload {
	return &skerryv1.Payload{
		Format:  skerryv1.PayloadFormat_PAYLOAD_FORMAT_PICKLE,
		Content: &skerryv1.Payload_Blob{Blob: &skerryv1.BlobRef{Digest: ident.Digest([]byte(text)), Size: size}},
	}
}

// TestLaterFrames checks that a container ends whose gateway sends what can't be meant, with the reason.
func TestLaterFrames(t *testing.T) {
	_, p, client := serve(t)
	key := &workerv1.InputKey{CallId: "fc-1"}
	for name, c := range map[string]struct {
		frame *workerv1.RunContainerRequest
		want  string
	}{
		"no key":        {&workerv1.RunContainerRequest{Inputs: []*workerv1.ContainerInput{{Args: inline(1)}}}, "call id"},
		"no arguments":  {&workerv1.RunContainerRequest{Inputs: []*workerv1.ContainerInput{{Key: key}}}, "missing"},
		"large ones":    {&workerv1.RunContainerRequest{Inputs: []*workerv1.ContainerInput{{Key: key, Args: inline(payload.MaxInline + 1)}}}, "limit"},
		"a bad cancel":  {&workerv1.RunContainerRequest{Cancels: []*workerv1.InputKey{{CallId: strings.Repeat("x", 65)}}}, "call id"},
		"an empty blob": {&workerv1.RunContainerRequest{Inputs: []*workerv1.ContainerInput{{Key: key, Args: blobOf("", payload.MaxSize+1)}}}, "limit"},
	} {
		stream := open(t, client, &workerv1.RunContainerRequest{Start: startFrame()})
		await(t, p.asked, "started")
		ok(t, stream.Send(c.frame))
		m, err := stream.Receive()
		ok(t, err)
		exit := m.GetExited()
		if exit.GetReason() != workerv1.ExitReason_EXIT_REASON_NOT_STARTED || !strings.Contains(exit.GetMessage(), c.want) {
			t.Errorf("%s: %v", name, m)
		}
	}
}

// TestInputsOfAContainerThatNeverWas come back, but for one that was cancelled meanwhile.
func TestInputsOfAContainerThatNeverWas(t *testing.T) {
	_, p, client := serve(t)
	first := &workerv1.RunContainerRequest{Start: startFrame()}
	for i := range uint32(3) {
		first.Inputs = append(first.Inputs, &workerv1.ContainerInput{Key: &workerv1.InputKey{CallId: "fc-1", Index: i}, Args: inline(1)})
	}
	first.Cancels = []*workerv1.InputKey{{CallId: "fc-1", Index: 1}}
	stream := open(t, client, first)
	await(t, p.asked, "started")
	m, err := stream.Receive()
	ok(t, err)
	if o := m.GetOutputs().GetOutputs(); len(o) != 1 || o[0].GetKey().GetIndex() != 1 ||
		o[0].GetResult().GetStatus() != skerryv1.ResultStatus_RESULT_STATUS_CANCELLED {
		t.Errorf("first %v, want the cancelled one", m)
	}
	ok(t, stream.Send(&workerv1.RunContainerRequest{Stop: &workerv1.StopContainer{}}))
	m, err = stream.Receive()
	ok(t, err)
	if keys := m.GetReturned().GetKeys(); len(keys) != 2 || keys[0].GetIndex() != 0 || keys[1].GetIndex() != 2 {
		t.Errorf("then %v, want the others back", m)
	}
	m, err = stream.Receive()
	ok(t, err)
	if m.GetExited() == nil {
		t.Errorf("last %v, want the end", m)
	}
	if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

// TestDrain stops what there is and refuses more.
func TestDrain(t *testing.T) {
	s, p, client := serve(t)
	stream := open(t, client, &workerv1.RunContainerRequest{Start: startFrame()})
	await(t, p.asked, "started")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ok(t, s.Drain(ctx))
	m, err := stream.Receive()
	ok(t, err)
	if m.GetExited() == nil {
		t.Errorf("got %v, want the end", m)
	}
	if _, err := open(t, client, &workerv1.RunContainerRequest{Start: startFrame()}).Receive(); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("one more: %v", err)
	}
	exec := client.Exec(t.Context())
	ok(t, exec.Send(&workerv1.ExecRequest{}))
	if _, err := exec.Receive(); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("a command in no container: %v", err)
	}
}

func TestMissingOutputIsNamed(t *testing.T) {
	if got := missing(container.Chunk{Stdout: []byte("x"), Stderr: []byte("y")}); len(got) > 0 {
		t.Errorf("nothing is missing: %q", got)
	}
	got := string(missing(container.Chunk{StdoutDropped: 3, StderrDropped: 5}))
	if !strings.Contains(got, "3 bytes of output") || !strings.Contains(got, "5 bytes of error output") {
		t.Errorf("said %q", got)
	}
}
