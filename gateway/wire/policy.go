package wire

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/gateway/function"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

// The messages of policies and back. What comes from a message is not checked; the nouns do that.

// RetriesToProto returns the message of a retry policy.
func RetriesToProto(r *function.Retries) *skerryv1.RetryPolicy {
	if r == nil {
		return nil
	}
	return &skerryv1.RetryPolicy{
		MaxRetries: uint32(r.Max), InitialDelay: durationpb.New(r.InitialDelay), BackoffCoefficient: r.Backoff, //nolint:gosec // checked: small
		MaxDelay: durationpb.New(r.MaxDelay),
	}
}

// RetriesFromProto returns a retry policy, nil for none.
func RetriesFromProto(m *skerryv1.RetryPolicy) *function.Retries {
	if m == nil {
		return nil
	}
	r := &function.Retries{
		Max: int(m.GetMaxRetries()), InitialDelay: function.DefaultInitialDelay, Backoff: m.GetBackoffCoefficient(),
		MaxDelay: m.GetMaxDelay().AsDuration(),
	}
	if m.GetInitialDelay() != nil {
		r.InitialDelay = m.GetInitialDelay().AsDuration()
	}
	return r
}

// ConcurrencyToProto returns the message of a concurrency.
func ConcurrencyToProto(c function.Concurrency) *skerryv1.Concurrency {
	return &skerryv1.Concurrency{MaxInputs: uint32(c.Max), TargetInputs: uint32(c.Target)} //nolint:gosec // checked: small
}

// ConcurrencyFromProto returns a concurrency; zeros are left to the noun.
func ConcurrencyFromProto(m *skerryv1.Concurrency) function.Concurrency {
	return function.Concurrency{Max: int(m.GetMaxInputs()), Target: int(m.GetTargetInputs())}
}

// BatchingToProto returns the message of a batching.
func BatchingToProto(b *function.Batching) *skerryv1.Batching {
	if b == nil {
		return nil
	}
	return &skerryv1.Batching{MaxBatchSize: uint32(b.Size), Wait: durationpb.New(b.Wait)} //nolint:gosec // checked: small
}

// BatchingFromProto returns a batching, nil for none.
func BatchingFromProto(m *skerryv1.Batching) *function.Batching {
	if m == nil {
		return nil
	}
	return &function.Batching{Size: int(m.GetMaxBatchSize()), Wait: m.GetWait().AsDuration()}
}

// PlacementToProto returns the message of a placement.
func PlacementToProto(p function.Placement) *skerryv1.Placement {
	return &skerryv1.Placement{Regions: p.Regions, Clouds: p.Clouds, Nonpreemptible: p.NonPreemptible}
}

// PlacementFromProto returns a placement.
func PlacementFromProto(m *skerryv1.Placement) function.Placement {
	return function.Placement{Regions: m.GetRegions(), Clouds: m.GetClouds(), NonPreemptible: m.GetNonpreemptible()}
}

// ScheduleToProto returns the message of a schedule.
func ScheduleToProto(s *function.Schedule) *skerryv1.Schedule {
	switch {
	case s == nil:
		return nil
	case s.Period == nil:
		return &skerryv1.Schedule{Kind: &skerryv1.Schedule_Cron{Cron: &skerryv1.Cron{Expression: s.Cron, Timezone: s.Timezone}}}
	default:
		p := s.Period
		return &skerryv1.Schedule{Kind: &skerryv1.Schedule_Period{Period: &skerryv1.Period{
			Years: uint32(p.Years), Months: uint32(p.Months), Weeks: uint32(p.Weeks), Days: uint32(p.Days), //nolint:gosec // checked: small
			Hours: uint32(p.Hours), Minutes: uint32(p.Minutes), Seconds: p.Seconds, //nolint:gosec // as above
		}}}
	}
}

// ScheduleFromProto returns a schedule, nil for none.
func ScheduleFromProto(m *skerryv1.Schedule) *function.Schedule {
	if m == nil {
		return nil
	}
	s := &function.Schedule{Cron: m.GetCron().GetExpression(), Timezone: m.GetCron().GetTimezone()}
	if p := m.GetPeriod(); p != nil {
		s.Period = &function.Period{
			Years: int(p.GetYears()), Months: int(p.GetMonths()), Weeks: int(p.GetWeeks()), Days: int(p.GetDays()),
			Hours: int(p.GetHours()), Minutes: int(p.GetMinutes()), Seconds: p.GetSeconds(),
		}
	}
	return s
}

// ParameterToProto returns the message of a parameter.
func ParameterToProto(p function.Parameter) *skerryv1.Parameter {
	m := &skerryv1.Parameter{Name: p.Name}
	switch p.Type {
	case function.StringParameter:
		m.Value = &skerryv1.Parameter_StringValue{StringValue: p.Text}
	case function.IntParameter:
		m.Value = &skerryv1.Parameter_IntValue{IntValue: p.Int}
	case function.BytesParameter:
		m.Value = &skerryv1.Parameter_BytesValue{BytesValue: p.Bytes}
	case function.BoolParameter:
		m.Value = &skerryv1.Parameter_BoolValue{BoolValue: p.Bool}
	}
	return m
}

// ParameterFromProto returns a parameter; its type is 0 if the message has no value.
func ParameterFromProto(m *skerryv1.Parameter) function.Parameter {
	p := function.Parameter{Name: m.GetName()}
	switch v := m.GetValue().(type) {
	case *skerryv1.Parameter_StringValue:
		p.Type, p.Text = function.StringParameter, v.StringValue
	case *skerryv1.Parameter_IntValue:
		p.Type, p.Int = function.IntParameter, v.IntValue
	case *skerryv1.Parameter_BytesValue:
		p.Type, p.Bytes = function.BytesParameter, v.BytesValue
	case *skerryv1.Parameter_BoolValue:
		p.Type, p.Bool = function.BoolParameter, v.BoolValue
	}
	return p
}

// ParametersToProto returns the messages of parameters.
func ParametersToProto(parameters []function.Parameter) []*skerryv1.Parameter {
	messages := make([]*skerryv1.Parameter, 0, len(parameters))
	for i := range parameters {
		messages = append(messages, ParameterToProto(parameters[i]))
	}
	return messages
}

// optional reads a duration; unset is 0.
func optional(m *durationpb.Duration) time.Duration {
	if m == nil {
		return 0
	}
	return m.AsDuration()
}

// OptionsFromProto returns the options of a binding, nil for none.
func OptionsFromProto(m *skerryv1.FunctionOptions) *function.Options {
	if m == nil {
		return nil
	}
	o := &function.Options{
		CPUMilli: m.GetCpuMilli(), CPULimitMilli: m.GetCpuLimitMilli(), MemoryMiB: m.GetMemoryMib(), MemoryLimitMiB: m.GetMemoryLimitMib(),
		SecretIDs: m.GetSecretIds(), Retries: RetriesFromProto(m.GetRetries()), MaxContainers: int(m.GetMaxContainers()),
		BufferContainers: int(m.GetBufferContainers()), ScaledownWindow: optional(m.GetScaledownWindow()), Timeout: optional(m.GetTimeout()),
		Batching: BatchingFromProto(m.GetBatching()), Volumes: VolumeMountsFromProto(m.GetVolumeMounts()),
		Buckets: BucketMountsFromProto(m.GetBucketMounts()),
	}
	if m.GetPlacement() != nil {
		p := PlacementFromProto(m.GetPlacement())
		o.Placement = &p
	}
	if m.GetConcurrency() != nil {
		c := ConcurrencyFromProto(m.GetConcurrency())
		o.Concurrency = &c
	}
	return o
}
