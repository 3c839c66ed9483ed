package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

var (
	_ call.Flow    = (*Engine)(nil)
	_ call.Outputs = (*Engine)(nil)
)

// inputVersion begins the data of every input: version, kind, method with its length before it, payload. The key and the function are in
// the subject.
const inputVersion = 2

func inputSubject(in *call.Input) string {
	return "in." + in.FunctionID + "." + in.Key.CallID + "." + strconv.FormatUint(uint64(in.Key.Index), 10)
}

func outputSubject(k payload.Key) string {
	return "out." + k.CallID + "." + strconv.FormatUint(uint64(k.Index), 10)
}

func parseInputSubject(subject string) (functionID string, key payload.Key, err error) {
	parts := strings.Split(subject, ".")
	if len(parts) != 4 {
		return "", payload.Key{}, fmt.Errorf("input subject %q: want 4 parts", subject)
	}
	i, err := strconv.ParseUint(parts[3], 10, 32)
	if err != nil {
		return "", payload.Key{}, fmt.Errorf("input subject %q: %w", subject, err)
	}
	return parts[1], payload.Key{CallID: parts[2], Index: uint32(i)}, nil
}

// PutInputs implements call.Flow.
func (e *Engine) PutInputs(inputs []call.Input, done func(errs []error)) {
	messages := make([]message, len(inputs))
	for i := range inputs {
		in := &inputs[i]
		data := make([]byte, 0, len(in.Args.Inline)+96)
		messages[i] = message{
			subject: inputSubject(in),
			data:    in.Args.Append(appendString(append(data, inputVersion, byte(in.Kind)), in.Method)),
		}
	}
	e.pub.publish(messages, done)
	e.anchor.count(len(messages))
}

func parseInput(subject string, data []byte) (in call.Input, err error) {
	if in.FunctionID, in.Key, err = parseInputSubject(subject); err != nil {
		return in, err
	}
	if len(data) < 2 || data[0] == 0 || data[0] > inputVersion {
		return in, fmt.Errorf("input %q: unknown version", subject)
	}
	in.Kind = call.Kind(data[1])
	rest := data[2:]
	if data[0] > 1 { // an earlier release knew no methods
		var ok bool
		if in.Method, rest, ok = cutString(rest); !ok {
			return in, fmt.Errorf("input %q: damaged", subject)
		}
	}
	args, rest, err := payload.Parse(rest)
	if err != nil || len(rest) != 0 {
		return in, fmt.Errorf("input %q: damaged: %w", subject, errors.Join(err))
	}
	in.Args = *args
	return in, nil
}

// firstWins makes the server refuse a message whose subject has one already. The stream drops its oldest messages when it is full, so
// it can't refuse by its limit per subject as the inputs' stream does.
var firstWins = nats.Header{jetstream.ExpectedLastSubjSeqHeader: []string{"0"}}

// PutOutputs implements call.Outputs.
func (e *Engine) PutOutputs(outputs []call.Output, done func(errs []error)) {
	messages := make([]message, len(outputs))
	for i := range outputs {
		o := &outputs[i]
		messages[i] = message{subject: outputSubject(o.Key), header: firstWins, data: o.Result.Append(nil), place: &o.Place}
	}
	e.pub.publish(messages, done)
}

// Output implements call.Outputs.
func (e *Engine) Output(ctx context.Context, key payload.Key) (call.Output, error) {
	m, err := e.lastMessage(ctx, e.outs, outputSubject(key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return call.Output{}, fault.New(fault.NotFound, "output of call %q, input %d: not stored", key.CallID, key.Index)
	}
	if err != nil {
		return call.Output{}, fault.New(fault.Unavailable, "output of call %q, input %d: %w", key.CallID, key.Index, err)
	}
	r, err := payload.ParseResult(m.Data)
	if err != nil {
		return call.Output{}, fault.New(fault.DataLoss, "output of call %q, input %d: %w", key.CallID, key.Index, err)
	}
	return call.Output{Key: key, Result: r, Place: m.Sequence}, nil
}

// PurgeOutputs implements call.Outputs.
func (e *Engine) PurgeOutputs(ctx context.Context, callID string, before uint64) error {
	options := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject("out." + callID + ".>")}
	if before > 0 {
		options = append(options, jetstream.WithPurgeSequence(before))
	}
	if err := e.insist(ctx, func(ctx context.Context) error { return e.outs.Purge(ctx, options...) }); err != nil {
		return fault.New(fault.Unavailable, "purge outputs of call %q: %w", callID, err)
	}
	return nil
}

// Waiting implements call.Flow.
func (e *Engine) Waiting(ctx context.Context, functionID string) (map[string]int, error) {
	filter := "in.>"
	if functionID != "" {
		filter = "in." + functionID + ".>"
	}
	var info *jetstream.StreamInfo
	err := e.insist(ctx, func(ctx context.Context) (err error) {
		info, err = e.in.Info(ctx, jetstream.WithSubjectFilter(filter))
		return err
	})
	if err != nil {
		return nil, fault.New(fault.Unavailable, "stream %q: %w", inputsStream, err)
	}
	waiting := map[string]int{}
	for subject, n := range info.State.Subjects {
		functionID, _, err := parseInputSubject(subject)
		if err != nil {
			return nil, err
		}
		waiting[functionID] += int(n)
	}
	return waiting, nil
}

// PurgeCall implements call.Flow.
func (e *Engine) PurgeCall(ctx context.Context, callID string) error {
	return e.purge(ctx, "in.*."+callID+".>")
}

// PurgeFunction implements call.Flow.
func (e *Engine) PurgeFunction(ctx context.Context, functionID string) error {
	return e.purge(ctx, "in."+functionID+".>")
}

func (e *Engine) purge(ctx context.Context, filter string) error {
	if err := e.insist(ctx, func(ctx context.Context) error { return e.in.Purge(ctx, jetstream.WithPurgeSubject(filter)) }); err != nil {
		return fault.New(fault.Unavailable, "purge %q: %w", filter, err)
	}
	return nil
}
