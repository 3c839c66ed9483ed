package gatewaylink

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
)

// maxMessage bounds one message of the gateway, in bytes: a frame of inputs of up to payload.MaxInline each.
const maxMessage = 256 << 20

// Description is what the worker is and has.
type Description struct {
	WorkerID, Hostname, Version string
	CPUMilli, MemoryMiB         uint32
	Labels                      map[string]string
}

// Service serves the gateway's calls. New containers are refused once Drain has been called.
type Service struct {
	host *container.Host
	desc Description
	log  *slog.Logger

	mu       sync.Mutex
	draining bool
	running  map[*container.Container]struct{}
	wg       sync.WaitGroup
}

var _ workerv1connect.WorkerServiceHandler = (*Service)(nil)

// NewService returns a service that starts containers on host.
func NewService(host *container.Host, desc Description, log *slog.Logger) *Service {
	return &Service{host: host, desc: desc, log: log, running: make(map[*container.Container]struct{})}
}

// Handler returns the service as an HTTP handler for a link.
func (s *Service) Handler() http.Handler {
	_, h := workerv1connect.NewWorkerServiceHandler(s,
		connect.WithReadMaxBytes(maxMessage),
		connect.WithCompression("gzip", nil, nil), // inputs and outputs are pickles: not worth the time
		connect.WithInterceptors(link.Ended(), wire.Faults(func(procedure string, err error) {
			s.log.Error("call failed", "procedure", procedure, "error", err)
		})))
	return h
}

// Drain stops all containers at once, so that the gateway gets their inputs back, and waits until they have ended.
func (s *Service) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for c := range s.running {
		c.Stop(false)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("containers have not ended"), context.Cause(ctx))
	}
}

// Describe implements WorkerService.
func (s *Service) Describe(context.Context, *connect.Request[workerv1.DescribeRequest]) (*connect.Response[workerv1.DescribeResponse], error) {
	d := s.desc
	return connect.NewResponse(&workerv1.DescribeResponse{
		WorkerId: d.WorkerID, Hostname: d.Hostname, Version: d.Version, CpuMilli: d.CPUMilli, MemoryMib: d.MemoryMiB, Labels: d.Labels,
	}), nil
}

type runStream = connect.BidiStream[workerv1.RunContainerRequest, workerv1.RunContainerResponse]

// RunContainer implements WorkerService.
func (s *Service) RunContainer(ctx context.Context, stream *runStream) error {
	first, err := stream.Receive()
	if err != nil {
		return err
	}
	spec, err := s.spec(first.GetStart())
	if err != nil {
		return err
	}
	send := &sender{stream: stream}
	c := s.host.New(*spec, send)
	if !s.enter(c) {
		return fault.New(fault.Unavailable, "container %q: the worker is stopping", spec.ID)
	}
	defer s.leave(c)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	send.cancel = cancel
	go func() {
		// It ends with the stream, which ends with this call at the latest.
		cancelIf(cancel, feed(c, first, stream))
	}()
	exit, err := c.Run(ctx)
	if err != nil {
		s.log.Error("container left something behind", "container", spec.ID, "error", err)
	}
	s.log.Debug("container ended", "container", spec.ID, "reason", exit.Reason, "message", exit.Message)
	return stream.Send(&workerv1.RunContainerResponse{Event: &workerv1.RunContainerResponse_Exited{Exited: exitToProto(exit)}})
}

func (s *Service) enter(c *container.Container) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.running[c] = struct{}{}
	s.wg.Add(1)
	return true
}

func (s *Service) leave(c *container.Container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, c)
	s.wg.Done()
}

func cancelIf(cancel context.CancelCauseFunc, err error) {
	if err != nil {
		cancel(err)
	}
}

// feed takes the gateway's frames, beginning with one that has been received, until the stream ends. A gateway that closes its side in
// good order still wants to hear the container's end.
func feed(c *container.Container, m *workerv1.RunContainerRequest, stream *runStream) error {
	for {
		inputs, err := inputsFromProto(m.GetInputs())
		if err != nil {
			return err
		}
		cancels, err := wire.KeysFromProto(m.GetCancels())
		if err != nil {
			return err
		}
		if len(inputs) > 0 {
			c.Submit(inputs)
		}
		if len(cancels) > 0 {
			c.Cancel(cancels)
		}
		if m.GetStop() != nil {
			c.Stop(m.GetStop().GetGraceful())
		}
		if m, err = stream.Receive(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// sender sends a container's events; the container calls it from one goroutine at a time.
type sender struct {
	stream *runStream
	cancel context.CancelCauseFunc
}

var _ container.Events = (*sender)(nil)

func (s *sender) Ready(phases []container.Phase) {
	ready := &workerv1.ContainerReady{}
	for _, p := range phases {
		ready.Phases = append(ready.Phases, &workerv1.StartPhase{Name: p.Name, Elapsed: durationpb.New(p.Elapsed)})
	}
	s.send(&workerv1.RunContainerResponse{Event: &workerv1.RunContainerResponse_Ready{Ready: ready}})
}

func (s *sender) Outputs(outputs []container.Output) {
	m := &workerv1.ContainerOutputs{}
	for _, o := range outputs {
		m.Outputs = append(m.Outputs, &workerv1.ContainerOutput{
			Key: wire.KeyToProto(o.Key), Result: wire.ResultToProto(o.Result), Elapsed: durationpb.New(o.Elapsed),
		})
	}
	s.send(&workerv1.RunContainerResponse{Event: &workerv1.RunContainerResponse_Outputs{Outputs: m}})
}

func (s *sender) Returned(keys []payload.Key) {
	s.send(&workerv1.RunContainerResponse{Event: &workerv1.RunContainerResponse_Returned{
		Returned: &workerv1.InputsReturned{Keys: wire.KeysToProto(keys)},
	}})
}

func (s *sender) Items(key payload.Key, first uint64, values []*payload.Payload) {
	m := &skerryv1.Items{CallId: key.CallID, Index: key.Index, First: first}
	for _, v := range values {
		m.Values = append(m.Values, wire.PayloadToProto(v))
	}
	s.send(&workerv1.RunContainerResponse{Event: &workerv1.RunContainerResponse_Items{
		Items: &workerv1.ContainerItems{Items: []*skerryv1.Items{m}},
	}})
}

func (s *sender) Slots(n int) {
	s.send(&workerv1.RunContainerResponse{Event: &workerv1.RunContainerResponse_Slots{
		Slots: &workerv1.ContainerSlots{Slots: uint32(max(0, n))}, //nolint:gosec // not negative
	}})
}

// send ends the container when nobody hears it any more: the gateway runs its inputs again.
func (s *sender) send(m *workerv1.RunContainerResponse) {
	if err := s.stream.Send(m); err != nil {
		s.cancel(err)
	}
}
