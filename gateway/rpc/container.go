package rpc

import (
	"context"
	"errors"
	"io"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/task"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Containers lists and stops containers. Implemented by task.Scheduler.
type Containers interface {
	// List returns containers that start or run, newest first; of one app or (appID empty) all.
	List(appID string) []task.Info
	// Stop stops a container, or returns a fault.NotFound.
	Stop(ctx context.Context, containerID string, graceful bool) error
	// WorkerOf returns the id of the worker a container is on, or a fault.NotFound.
	WorkerOf(containerID string) (string, error)
}

// Execs opens streams for commands in containers. Implemented by workerlink.Hub.
type Execs interface {
	// Exec opens a stream on a worker, which ends with ctx, or returns a fault.NotFound if the worker is gone.
	Exec(ctx context.Context, workerID string) (ExecStream, error)
}

// ExecStream is a command in a container. One goroutine may send while another receives.
type ExecStream interface {
	// Send sends a frame; io.EOF says that the command has ended.
	Send(frame *skerryv1.ExecRequest) error
	// CloseSend says that no more frames come.
	CloseSend() error
	// Receive returns the next frame, io.EOF at the end, or a fault.
	Receive() (*skerryv1.ExecResponse, error)
}

// NewContainerService returns the handler of ContainerService.
func NewContainerService(c Containers, e Execs) skerryv1connect.ContainerServiceHandler {
	return &containerService{containers: c, execs: e}
}

type containerService struct {
	containers Containers
	execs      Execs
}

func (s *containerService) ListContainers(ctx context.Context, req *connect.Request[skerryv1.ListContainersRequest]) (*connect.Response[skerryv1.ListContainersResponse], error) {
	appID := req.Msg.GetAppId()
	if appID != "" {
		if err := ident.Check(ident.App, appID); err != nil {
			return nil, err
		}
	}
	res := &skerryv1.ListContainersResponse{}
	for _, i := range s.containers.List(appID) {
		if !identity.Sees(ctx, i.Environment) {
			continue
		}
		m := &skerryv1.ContainerInfo{
			ContainerId: i.ID, AppId: i.AppID, AppDescription: i.AppName, FunctionName: i.FunctionName, WorkerId: i.WorkerID,
			CreatedAt: timestamppb.New(i.CreatedAt), NumRunningInputs: uint32(i.Running), //nolint:gosec // a count, and small
		}
		if !i.ReadyAt.IsZero() {
			m.ReadyAt = timestamppb.New(i.ReadyAt)
		}
		res.Containers = append(res.Containers, m)
	}
	return connect.NewResponse(res), nil
}

func (s *containerService) StopContainer(ctx context.Context, req *connect.Request[skerryv1.StopContainerRequest]) (*connect.Response[skerryv1.StopContainerResponse], error) {
	if err := ident.Check(ident.Container, req.Msg.GetContainerId()); err != nil {
		return nil, err
	}
	if err := s.containers.Stop(ctx, req.Msg.GetContainerId(), req.Msg.GetGraceful()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.StopContainerResponse{}), nil
}

// Exec relays frames between a client and the worker of the container. The worker checks the command.
func (s *containerService) Exec(ctx context.Context, client *connect.BidiStream[skerryv1.ExecRequest, skerryv1.ExecResponse]) error {
	first, err := client.Receive()
	if err != nil {
		return err
	}
	id := first.GetStart().GetContainerId()
	if err := ident.Check(ident.Container, id); err != nil {
		return err
	}
	workerID, err := s.containers.WorkerOf(id)
	if err != nil {
		return err
	}
	// The stream to the worker ends with this call, and so does the command.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	worker, err := s.execs.Exec(ctx, workerID)
	if err != nil {
		return err
	}
	if err := worker.Send(first); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	go func() {
		// It ends with the client's stream, which ends with this call at the latest.
		if err := relayInput(client, worker); err != nil {
			cancel(err)
		}
	}()
	return relayOutput(client, worker)
}

// relayInput carries the client's frames to the worker until the client has no more or goes away, which is an error.
func relayInput(client *connect.BidiStream[skerryv1.ExecRequest, skerryv1.ExecResponse], worker ExecStream) error {
	for {
		frame, err := client.Receive()
		if errors.Is(err, io.EOF) {
			return worker.CloseSend()
		}
		if err != nil {
			return err
		}
		if err := worker.Send(frame); err != nil {
			if errors.Is(err, io.EOF) { // the command has ended; relayOutput says how
				return nil
			}
			return err
		}
	}
}

func relayOutput(client *connect.BidiStream[skerryv1.ExecRequest, skerryv1.ExecResponse], worker ExecStream) error {
	for {
		frame, err := worker.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := client.Send(frame); err != nil {
			return err
		}
		if frame.GetExit() != nil {
			return nil
		}
	}
}
