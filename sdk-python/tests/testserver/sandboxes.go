package main

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
)

// sandboxes keeps what it is asked for and runs nothing: what is in a sandbox is served by inside.
type sandboxes struct {
	skerryv1connect.UnimplementedSandboxServiceHandler
	*state
}

type sandbox struct {
	info       *skerryv1.SandboxInfo
	definition *skerryv1.SandboxDefinition
}

func (s *sandboxes) CreateSandbox(
	_ context.Context, r *connect.Request[skerryv1.CreateSandboxRequest],
) (*connect.Response[skerryv1.CreateSandboxResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := r.Msg.GetDefinition()
	if s.lostImages[d.GetImageId()] {
		delete(s.lostImages, d.GetImageId())
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("image %q: not found", d.GetImageId()))
	}
	for _, other := range s.sandboxes {
		if d.GetName() != "" && other.info.GetName() == d.GetName() && other.info.GetEnd() == nil {
			return nil, connect.NewError(connect.CodeAlreadyExists, fmt.Errorf("sandbox %q: a running one has the name", d.GetName()))
		}
	}
	info := &skerryv1.SandboxInfo{
		SandboxId: r.Msg.GetSandboxId(), AppId: r.Msg.GetAppId(), Name: d.GetName(), Tags: d.GetTags(), Owner: d.GetOwner(),
		State: skerryv1.SandboxState_SANDBOX_STATE_RUNNING, CreatedAt: now(), ImageId: d.GetImageId(),
		ExpiresAt: timestamppb.New(time.Now().Add(d.GetTimeout().AsDuration())),
	}
	s.sandboxes = append(s.sandboxes, &sandbox{info: info, definition: d})
	s.report.Sandboxes = append(s.report.Sandboxes, encode(r.Msg))
	return connect.NewResponse(&skerryv1.CreateSandboxResponse{Sandbox: info}), nil
}

func (s *sandboxes) GetSandbox(
	_ context.Context, r *connect.Request[skerryv1.GetSandboxRequest],
) (*connect.Response[skerryv1.GetSandboxResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, each := range s.sandboxes {
		if each.info.GetSandboxId() == r.Msg.GetSandboxId() || (r.Msg.GetName() != "" && each.info.GetName() == r.Msg.GetName()) {
			return connect.NewResponse(&skerryv1.GetSandboxResponse{Sandbox: each.info}), nil
		}
	}
	return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("sandbox %q: not found", r.Msg.GetSandboxId()+r.Msg.GetName()))
}

// ListSandboxes answers two at a time.
func (s *sandboxes) ListSandboxes(
	_ context.Context, r *connect.Request[skerryv1.ListSandboxesRequest],
) (*connect.Response[skerryv1.ListSandboxesResponse], error) {
	const most = 2
	s.mu.Lock()
	defer s.mu.Unlock()
	response := &skerryv1.ListSandboxesResponse{}
	for i := len(s.sandboxes) - 1; i >= 0; i-- {
		info := s.sandboxes[i].info
		before := r.Msg.GetCreatedBefore()
		matches := info.GetEnd() == nil && (before == nil || info.GetCreatedAt().AsTime().Before(before.AsTime()))
		for key, value := range r.Msg.GetTags() {
			matches = matches && info.GetTags()[key] == value
		}
		if matches && len(response.Sandboxes) == most {
			response.More = true
			break
		}
		if matches {
			response.Sandboxes = append(response.Sandboxes, info)
		}
	}
	return connect.NewResponse(response), nil
}

func (s *sandboxes) WaitSandbox(
	ctx context.Context, r *connect.Request[skerryv1.WaitSandboxRequest],
) (*connect.Response[skerryv1.WaitSandboxResponse], error) {
	ctx, cancel := context.WithTimeout(ctx, r.Msg.GetLimit().AsDuration())
	defer cancel()
	found, err := s.await(ctx, r.Msg.GetSandboxId(), func(each *sandbox) bool { return each.info.GetEnd() != nil })
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.WaitSandboxResponse{Sandbox: found.info}), nil
}

func (s *sandboxes) WaitSandboxReady(
	ctx context.Context, r *connect.Request[skerryv1.WaitSandboxReadyRequest],
) (*connect.Response[skerryv1.WaitSandboxReadyResponse], error) {
	ctx, cancel := context.WithTimeout(ctx, r.Msg.GetLimit().AsDuration())
	defer cancel()
	found, err := s.await(ctx, r.Msg.GetSandboxId(), func(each *sandbox) bool { return each.info.GetEnd() != nil || each.info.GetReady() })
	if err != nil {
		return nil, err
	}
	if found.info.GetEnd() != nil || found.definition.GetProbe() == nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("sandbox %q: has ended", r.Msg.GetSandboxId()))
	}
	return connect.NewResponse(&skerryv1.WaitSandboxReadyResponse{Ready: found.info.GetReady()}), nil
}

func (s *sandboxes) TerminateSandbox(
	_ context.Context, r *connect.Request[skerryv1.TerminateSandboxRequest],
) (*connect.Response[skerryv1.TerminateSandboxResponse], error) {
	s.end(r.Msg.GetSandboxId(), skerryv1.SandboxEndReason_SANDBOX_END_REASON_TERMINATED, 137)
	found, err := s.await(context.Background(), r.Msg.GetSandboxId(), func(*sandbox) bool { return true })
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.TerminateSandboxResponse{Sandbox: found.info}), nil
}

func (s *sandboxes) SetSandboxTags(
	ctx context.Context, r *connect.Request[skerryv1.SetSandboxTagsRequest],
) (*connect.Response[skerryv1.SetSandboxTagsResponse], error) {
	found, err := s.await(ctx, r.Msg.GetSandboxId(), func(*sandbox) bool { return true })
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found.info.Tags = r.Msg.GetTags()
	return connect.NewResponse(&skerryv1.SetSandboxTagsResponse{}), nil
}

func (s *sandboxes) SealEnvironment(
	_ context.Context, r *connect.Request[skerryv1.SealEnvironmentRequest],
) (*connect.Response[skerryv1.SealEnvironmentResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	variables := map[string]string{}
	for _, id := range r.Msg.GetSecretIds() {
		var number int
		if _, err := fmt.Sscanf(id, "st-%d", &number); err != nil || number > len(s.report.Secrets) {
			return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("secret %q: not found", id))
		}
		for key, value := range s.report.Secrets[number-1] {
			variables[key] = value
		}
	}
	id := fmt.Sprintf("env-%d", s.report.Sealed)
	s.report.Sealed++
	return connect.NewResponse(&skerryv1.SealEnvironmentResponse{EnvironmentId: id}), s.inside.place.Seal(id, variables)
}

// end has a sandbox end.
func (s *state) end(id string, reason skerryv1.SandboxEndReason, code int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, each := range s.sandboxes {
		if each.info.GetSandboxId() == id && each.info.GetEnd() == nil {
			each.info.State = skerryv1.SandboxState_SANDBOX_STATE_ENDED
			each.info.End = &skerryv1.SandboxEnd{Reason: reason, ReturnCode: code, EndedAt: now()}
		}
	}
	s.changed.Broadcast()
}

// await returns a sandbox once something is true of it, or ctx has ended.
func (s *state) await(ctx context.Context, id string, is func(*sandbox) bool) (*sandbox, error) {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changed.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, each := range s.sandboxes {
		if each.info.GetSandboxId() == id {
			for !is(each) && ctx.Err() == nil {
				s.changed.Wait()
			}
			return each, nil
		}
	}
	return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("sandbox %q: not found", id))
}
