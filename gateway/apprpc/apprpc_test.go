package apprpc

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/identity"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// TestDefinitions come back from the wire as they went.
func TestDefinitions(t *testing.T) {
	text := function.Parameter{Name: "p", Type: function.StringParameter, Text: "x"}
	full := function.Definition{
		Name: "f", Module: "m", Qualname: "q", ImageID: "im-1", SecretIDs: []string{"st-1"}, PythonVersion: "3.11", ClientVersion: "1.0",
		Mounts:    []function.Mount{{RemotePath: "/root", TreeDigest: "sha256:1"}},
		Resources: function.Resources{CPUMilli: 1, CPULimitMilli: 2, MemoryMiB: 3, MemoryLimitMiB: 4, EphemeralDiskMiB: 5},
		Timeout:   time.Minute, StartupTimeout: time.Second, BlockNetwork: true,
		Autoscaler: function.Autoscaler{MinContainers: 1, MaxContainers: 2, BufferContainers: 3, ScaledownWindow: time.Hour},
		Class: &function.Class{
			Methods:    []function.Method{{Name: "a"}, {Name: "b", Generator: true}},
			Parameters: []function.ParameterSpec{{Name: "p", Type: function.StringParameter, Default: &text}, {Name: "n", Type: function.IntParameter}},
		},
		Retries:     &function.Retries{Max: 3, InitialDelay: time.Second, Backoff: 2, MaxDelay: time.Minute},
		Concurrency: function.Concurrency{Max: 9, Target: 8}, Batching: &function.Batching{Size: 7, Wait: time.Millisecond},
		Schedule:  &function.Schedule{Period: &function.Period{Years: 1, Months: 2, Weeks: 3, Days: 4, Hours: 5, Minutes: 6, Seconds: 7.5}},
		Placement: function.Placement{Regions: []string{"r"}, Clouds: []string{"c"}, NonPreemptible: true},
		SingleUse: true, RestrictAccess: true, ModalNames: true, Interactive: true,
	}
	byValue := function.Definition{
		Name: "g", Generator: true, Serialized: &payload.Payload{Format: payload.Pickle, Inline: []byte("code")},
		Timeout: time.Minute, StartupTimeout: time.Minute, Autoscaler: function.Autoscaler{ScaledownWindow: time.Minute},
		Schedule: &function.Schedule{Cron: "* * * * *", Timezone: "UTC"}, Class: &function.Class{CustomConstructor: true},
	}
	for _, d := range []function.Definition{full, byValue} {
		got, err := definitionFromProto(gatewire.DefinitionToProto(&d))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestDefinitionsRefused(t *testing.T) {
	for says, change := range map[string]func(*skerryv1.FunctionDefinition){
		"timeout: want":         func(m *skerryv1.FunctionDefinition) { m.Timeout = durationpb.New(0) },
		"startup_timeout: want": func(m *skerryv1.FunctionDefinition) { m.StartupTimeout = durationpb.New(-time.Second) },
		"scaledown_window: want": func(m *skerryv1.FunctionDefinition) {
			m.Autoscaler.ScaledownWindow = &durationpb.Duration{Seconds: math.MaxInt64}
		},
		"client version": func(m *skerryv1.FunctionDefinition) { m.ClientVersion = strings.Repeat("1", 65) },
		"no content":     func(m *skerryv1.FunctionDefinition) { m.Serialized = &skerryv1.Payload{Format: 1} },
		"inline bytes are over": func(m *skerryv1.FunctionDefinition) {
			m.Serialized = &skerryv1.Payload{Format: 1, Content: &skerryv1.Payload_Inline{Inline: make([]byte, payload.MaxInline+1)}}
		},
	} {
		m := &skerryv1.FunctionDefinition{Name: "f", Autoscaler: &skerryv1.Autoscaler{}}
		change(m)
		if _, err := definitionFromProto(m); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}

func TestCommits(t *testing.T) {
	full := &skerryv1.CommitInfo{
		CommitHash: "abc", Branch: "main", Dirty: true, Author: "A", AuthorEmail: "a@b", RepoUrl: "https://x/y",
		CommittedAt: timestamppb.New(time.Unix(1_700_000_000, 0)),
	}
	for name, m := range map[string]*skerryv1.CommitInfo{"full": full, "hash": {CommitHash: "abc"}} {
		c, err := commitFromProto(m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, commitToProto(c), protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if c, err := commitFromProto(nil); c != nil || err != nil {
		t.Errorf("none: %v, %v", c, err)
	}
	long := strings.Repeat("x", maxPerson+1)
	for name, m := range map[string]*skerryv1.CommitInfo{
		"hash": {CommitHash: long}, "branch": {Branch: long}, "author": {Author: long}, "email": {AuthorEmail: long}, "repository": {RepoUrl: long},
	} {
		if _, err := commitFromProto(m); !errors.Is(err, fault.Invalid) {
			t.Errorf("a long %s: %v", name, err)
		}
	}
}

// store has one function.
type store struct {
	function.Store
	f *function.Function
}

func (s store) Function(_ context.Context, id string) (*function.Function, error) {
	if id != s.f.ID {
		return nil, fault.New(fault.NotFound, "function %q: not there", id)
	}
	return s.f, nil
}

// TestContainersSeeTheirEnvironment and may change their own app alone: what is refused has not come to the nouns, of which there are none here.
func TestContainersSeeTheirEnvironment(t *testing.T) {
	f := &function.Function{ID: ident.New(ident.Function), AppID: ident.New(ident.App), Environment: "other"}
	d := Deps{Functions: store{f: f}}
	apps, functions := NewAppService(d), NewFunctionService(d)
	ctx := identity.WithScope(t.Context(), identity.Scope{ContainerID: "ta-1", AppID: ident.New(ident.App), Environment: "main"})
	for name, c := range map[string]struct {
		call func() error
		want *fault.Kind
	}{
		"create an app": {func() error {
			_, err := apps.LookupApp(ctx, connect.NewRequest(&skerryv1.LookupAppRequest{Name: "a", CreateIfMissing: true}))
			return err
		}, fault.Denied},
		"find an app elsewhere": {func() error {
			_, err := apps.LookupApp(ctx, connect.NewRequest(&skerryv1.LookupAppRequest{Name: "a", Environment: "other"}))
			return err
		}, fault.NotFound},
		"look at an app elsewhere": {func() error {
			_, err := apps.GetApp(ctx, connect.NewRequest(&skerryv1.GetAppRequest{App: "a", Environment: "other"}))
			return err
		}, fault.NotFound},
		"tag another app": {func() error {
			_, err := apps.SetAppTags(ctx, connect.NewRequest(&skerryv1.SetAppTagsRequest{AppId: f.AppID}))
			return err
		}, fault.Denied},
		"find a function elsewhere": {func() error {
			_, err := functions.GetFunction(ctx, connect.NewRequest(&skerryv1.GetFunctionRequest{Environment: "other", AppName: "a", FunctionName: "f"}))
			return err
		}, fault.NotFound},
		"measure a function elsewhere": {func() error {
			_, err := functions.GetFunctionStats(ctx, connect.NewRequest(&skerryv1.GetFunctionStatsRequest{FunctionId: f.ID}))
			return err
		}, fault.NotFound},
		"bind a function elsewhere": {func() error {
			_, err := functions.BindFunction(ctx, connect.NewRequest(&skerryv1.BindFunctionRequest{FunctionId: f.ID}))
			return err
		}, fault.NotFound},
		"scale a function elsewhere": {func() error {
			_, err := functions.UpdateAutoscaler(ctx, connect.NewRequest(&skerryv1.UpdateAutoscalerRequest{FunctionId: f.ID}))
			return err
		}, fault.NotFound},
		"scale what is no function": {func() error {
			_, err := functions.UpdateAutoscaler(ctx, connect.NewRequest(&skerryv1.UpdateAutoscalerRequest{FunctionId: "fu-*"}))
			return err
		}, fault.Invalid},
		"a window of nothing": {func() error {
			_, err := functions.UpdateAutoscaler(ctx, connect.NewRequest(&skerryv1.UpdateAutoscalerRequest{ScaledownWindow: durationpb.New(0)}))
			return err
		}, fault.Invalid},
	} {
		if err := c.call(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
