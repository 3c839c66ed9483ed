package workerlink

import (
	"fmt"

	"github.com/skerry-dev/skerry/gateway/task"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	"github.com/skerry-dev/skerry/internal/fault"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/wire"
)

func startToProto(s *task.Spec, environment string) *workerv1.StartContainer {
	m := &workerv1.StartContainer{
		ContainerId:    s.ContainerID,
		AppId:          s.Function.AppID,
		AppName:        s.Function.AppName,
		FunctionId:     s.Function.ID,
		Definition:     gatewire.DefinitionToProto(&s.Function.Definition),
		Image:          wire.RefToProto(s.Image.File),
		ImageChunked:   s.Image.Chunked,
		ImageEnv:       s.Image.Env,
		ImageWorkdir:   s.Image.Workdir,
		SecretEnv:      s.SecretEnv,
		Environment:    environment,
		AppFunctionIds: s.AppFunctionIDs,

		BucketCredentials: gatewire.BucketCredentialsToProto(s.Buckets),
	}
	if b := s.Function.Binding; b != nil {
		m.Parameters, m.ConstructorArguments = gatewire.ParametersToProto(b.Parameters), b.Constructor
	}
	if c := s.Function.Definition.Class; c != nil && m.Parameters == nil {
		// Not bound: all parameters have their defaults, or there are none.
		for i := range c.Parameters {
			if p := c.Parameters[i].Default; p != nil {
				p := *p
				p.Name = c.Parameters[i].Name
				m.Parameters = append(m.Parameters, gatewire.ParameterToProto(p))
			}
		}
	}
	return m
}

func inputToProto(in *task.Input) *workerv1.ContainerInput {
	return &workerv1.ContainerInput{
		Key: wire.KeyToProto(in.Key), Args: wire.PayloadToProto(&in.Args), Attempt: in.Attempt, Method: in.Method, Batch: in.Batch,
	}
}

func phasesFromProto(messages []*workerv1.StartPhase) []task.Phase {
	phases := make([]task.Phase, len(messages))
	for i, m := range messages {
		phases[i] = task.Phase{Name: m.GetName(), Elapsed: m.GetElapsed().AsDuration()}
	}
	return phases
}

func outputsFromProto(messages []*workerv1.ContainerOutput) ([]task.Output, error) {
	outputs := make([]task.Output, len(messages))
	for i, m := range messages {
		key, err := wire.KeyFromProto(m.GetKey())
		if err != nil {
			return nil, err
		}
		result, err := wire.ResultFromProto(m.GetResult())
		if err != nil {
			return nil, fmt.Errorf("output %d of call %q: %w", key.Index, key.CallID, err)
		}
		outputs[i] = task.Output{Key: key, Result: result, Elapsed: m.GetElapsed().AsDuration()}
	}
	return outputs, nil
}

func exitFromProto(m *workerv1.ContainerExited) (task.Exit, error) {
	r := m.GetReason()
	if r <= workerv1.ExitReason_EXIT_REASON_UNSPECIFIED || r > workerv1.ExitReason_EXIT_REASON_NOT_STARTED {
		return task.Exit{}, fault.New(fault.Invalid, "exit reason %d: unknown", int32(r))
	}
	lost, err := wire.KeysFromProto(m.GetLost())
	if err != nil {
		return task.Exit{}, err
	}
	exit := task.Exit{Reason: task.Reason(r), Message: m.GetMessage(), Lost: lost}
	if m.GetError() != nil {
		if exit.Error, err = wire.RemoteErrorFromProto(m.GetError()); err != nil {
			return task.Exit{}, err
		}
	}
	return exit, nil
}
