package server_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/gateway/server"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/ident"
)

func (g *gateway) create(t *testing.T, state skerryv1.AppState) string {
	t.Helper()
	return call(t, g.app.CreateApp, &skerryv1.CreateAppRequest{Description: "test app", State: state}).GetAppId()
}

func function(name, image string) *skerryv1.FunctionDefinition {
	return &skerryv1.FunctionDefinition{Name: name, Module: "m", Qualname: name, ImageId: image, PythonVersion: "3.11", ClientVersion: "python/9"}
}

func (g *gateway) state(t *testing.T, id string) skerryv1.AppState {
	t.Helper()
	for _, a := range call(t, g.app.ListApps, &skerryv1.ListAppsRequest{}).GetApps() {
		if a.GetAppId() == id {
			return a.GetState()
		}
	}
	t.Fatalf("app %s is not listed", id)
	return 0
}

// awaitStop returns when an app has stopped: its log then ends.
func (g *gateway) awaitStop(t *testing.T, id string) {
	t.Helper()
	stream, err := g.logs.StreamLogs(t.Context(), connect.NewRequest(&skerryv1.StreamLogsRequest{App: id, Follow: true}))
	if err != nil {
		t.Fatal(err)
	}
	for stream.Receive() {
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestEphemeralApp(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	image := g.mustImage(t)
	id := g.create(t, skerryv1.AppState_APP_STATE_EPHEMERAL)
	def := function("square", image)
	def.Timeout = durationpb.New(10 * time.Second)
	published := call(t, g.app.PublishApp, &skerryv1.PublishAppRequest{AppId: id, Functions: []*skerryv1.FunctionDefinition{def}})
	if published.GetVersion() != 0 || ident.Check(ident.Function, published.GetFunctionIds()["square"]) != nil {
		t.Errorf("PublishApp = %v", published)
	}
	call(t, g.app.Heartbeat, &skerryv1.HeartbeatRequest{AppId: id})
	stats := call(t, g.fn.GetFunctionStats, &skerryv1.GetFunctionStatsRequest{FunctionId: published.GetFunctionIds()["square"]})
	if stats.GetBacklog() != 0 || stats.GetNumContainers() != 0 {
		t.Errorf("stats = %v", stats)
	}
	stop := call(t, g.app.StopApp, &skerryv1.StopAppRequest{App: id, Reason: skerryv1.StopReason_STOP_REASON_COMPLETED})
	if stop.GetAlreadyStopped() || stop.GetAppId() != id {
		t.Errorf("StopApp = %v", stop)
	}
	g.awaitStop(t, id)
	if s := g.state(t, id); s != skerryv1.AppState_APP_STATE_STOPPED {
		t.Errorf("state = %v", s)
	}
	if again := call(t, g.app.StopApp, &skerryv1.StopAppRequest{App: id}); !again.GetAlreadyStopped() {
		t.Error("a stopped app was stopped again")
	}
	wantCode(t, fails(t, g.app.Heartbeat, &skerryv1.HeartbeatRequest{AppId: id}), connect.CodeFailedPrecondition, "entrypoint returned")
	wantCode(t, fails(t, g.app.PublishApp, &skerryv1.PublishAppRequest{AppId: id}), connect.CodeFailedPrecondition, "stopped")
	wantCode(t, fails(t, g.fn.GetFunctionStats, &skerryv1.GetFunctionStatsRequest{FunctionId: published.GetFunctionIds()["square"]}),
		connect.CodeNotFound, "its app has stopped")
}

func TestAVanishedClientsAppStops(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *server.Config) { c.HeartbeatWindow = 300 * time.Millisecond })
	id := g.create(t, skerryv1.AppState_APP_STATE_EPHEMERAL)
	detached := g.create(t, skerryv1.AppState_APP_STATE_DETACHED)
	g.awaitStop(t, id)
	err := fails(t, g.app.Heartbeat, &skerryv1.HeartbeatRequest{AppId: id})
	wantCode(t, err, connect.CodeFailedPrecondition, "client vanished")
	g.awaitStop(t, detached) // it had no work
}

func TestRestartGivesAFreshWindow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g, stop := startIn(t, dir, func(c *server.Config) { c.HeartbeatWindow = time.Hour })
	id := g.create(t, skerryv1.AppState_APP_STATE_EPHEMERAL)
	stop()
	g, stop = startIn(t, dir, func(c *server.Config) { c.HeartbeatWindow = 300 * time.Millisecond })
	defer stop()
	if s := g.state(t, id); s != skerryv1.AppState_APP_STATE_EPHEMERAL {
		t.Errorf("state after the restart = %v", s)
	}
	g.awaitStop(t, id)
}

func TestDeployments(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	image := g.mustImage(t)
	deploy := func(tag string, names ...string) *skerryv1.PublishAppResponse {
		id := g.create(t, skerryv1.AppState_APP_STATE_INITIALIZING)
		st := call(t, g.secret.CreateSecret, &skerryv1.CreateSecretRequest{AppId: id, Variables: map[string]string{"A": "b"}}).GetSecretId()
		req := &skerryv1.PublishAppRequest{AppId: id, Name: "shop", Tag: tag, Commit: &skerryv1.CommitInfo{Branch: "main", Dirty: true}}
		for _, name := range names {
			def := function(name, image)
			def.SecretIds = []string{st}
			req.Functions = append(req.Functions, def)
		}
		return call(t, g.app.PublishApp, req)
	}
	first := deploy("v1", "buy", "sell")
	second := deploy("v2", "buy")
	third := deploy("", "buy", "sell")
	if first.GetAppId() != second.GetAppId() || second.GetVersion() != 2 || third.GetVersion() != 3 {
		t.Errorf("first %v, second %v, third %v", first, second, third)
	}
	for _, name := range []string{"buy", "sell"} {
		if first.GetFunctionIds()[name] != third.GetFunctionIds()[name] {
			t.Errorf("%s: id %s became %s", name, first.GetFunctionIds()[name], third.GetFunctionIds()[name])
		}
	}
	if found := call(t, g.app.LookupApp, &skerryv1.LookupAppRequest{Name: "shop"}); found.GetAppId() != first.GetAppId() {
		t.Errorf("LookupApp = %v", found)
	}
	history := call(t, g.app.GetAppHistory, &skerryv1.GetAppHistoryRequest{App: "shop"}).GetDeployments()
	if len(history) != 3 || history[1].GetTag() != "v2" || history[2].GetVersion() != 1 || history[0].GetDeployedBy() != "tester" ||
		history[0].GetClientVersion() != "python/9" || history[0].GetCommit().GetBranch() != "main" {
		t.Errorf("history = %v", history)
	}
	fn := call(t, g.fn.GetFunction, &skerryv1.GetFunctionRequest{AppName: "shop", FunctionName: "buy"})
	if fn.GetFunctionId() != first.GetFunctionIds()["buy"] || len(fn.GetDefinition().GetSecretIds()) != 0 || fn.GetDefinition().GetModule() != "m" {
		t.Errorf("GetFunction = %v", fn)
	}
	for app, function := range map[string]string{"shop": "steal", "shoe": "buy"} {
		err := fails(t, g.fn.GetFunction, &skerryv1.GetFunctionRequest{AppName: app, FunctionName: function})
		wantCode(t, err, connect.CodeNotFound, "")
	}
	call(t, g.app.StopApp, &skerryv1.StopAppRequest{App: "shop"})
	wantCode(t, fails(t, g.app.LookupApp, &skerryv1.LookupAppRequest{Name: "shop"}), connect.CodeNotFound, "shop")
	made := call(t, g.app.LookupApp, &skerryv1.LookupAppRequest{Name: "shop", CreateIfMissing: true})
	if made.GetAppId() == first.GetAppId() {
		t.Error("a stopped app came back")
	}
}

func TestRefusedPublications(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	image := g.mustImage(t)
	id := g.create(t, skerryv1.AppState_APP_STATE_EPHEMERAL)
	missing := "sha256:" + strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		code   connect.Code
		change func(*skerryv1.FunctionDefinition)
		says   string
	}{
		"name":          {connect.CodeInvalidArgument, func(d *skerryv1.FunctionDefinition) { d.Name = "a b" }, "function name"},
		"no image":      {connect.CodeInvalidArgument, func(d *skerryv1.FunctionDefinition) { d.ImageId = "" }, "im-"},
		"unbuilt image": {connect.CodeNotFound, func(d *skerryv1.FunctionDefinition) { d.ImageId = ident.New(ident.Image) }, "image"},
		"tree": {connect.CodeNotFound, func(d *skerryv1.FunctionDefinition) {
			d.Mounts = []*skerryv1.Mount{{RemotePath: "/root", TreeDigest: missing}}
		}, "tree"},
		"mount path": {connect.CodeInvalidArgument, func(d *skerryv1.FunctionDefinition) {
			d.Mounts = []*skerryv1.Mount{{RemotePath: "/proc/self", TreeDigest: missing}}
		}, "reserved"},
		"secret":  {connect.CodeNotFound, func(d *skerryv1.FunctionDefinition) { d.SecretIds = []string{ident.New(ident.Secret)} }, "secret"},
		"timeout": {connect.CodeInvalidArgument, func(d *skerryv1.FunctionDefinition) { d.Timeout = durationpb.New(25 * time.Hour) }, "timeout 25h"},
		"zero":    {connect.CodeInvalidArgument, func(d *skerryv1.FunctionDefinition) { d.Timeout = durationpb.New(0) }, "above 0"},
		"memory": {connect.CodeInvalidArgument, func(d *skerryv1.FunctionDefinition) {
			d.Resources = &skerryv1.Resources{MemoryMib: 100, MemoryLimitMib: 50}
		}, "memory"},
		"scale": {connect.CodeInvalidArgument, func(d *skerryv1.FunctionDefinition) {
			d.Autoscaler = &skerryv1.Autoscaler{MinContainers: 3, MaxContainers: 2}
		}, "min_containers"},
		"python": {connect.CodeInvalidArgument, func(d *skerryv1.FunctionDefinition) { d.PythonVersion = "2.7" }, "3.11"},
		"code":   {connect.CodeInvalidArgument, func(d *skerryv1.FunctionDefinition) { d.Module = "" }, "module"},
	} {
		def := function("f", image)
		c.change(def)
		err := fails(t, g.app.PublishApp, &skerryv1.PublishAppRequest{AppId: id, Functions: []*skerryv1.FunctionDefinition{def}})
		if connect.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := []*skerryv1.FunctionDefinition{function("f", image), function("f", image)}
	wantCode(t, fails(t, g.app.PublishApp, &skerryv1.PublishAppRequest{AppId: id, Functions: twice}), connect.CodeInvalidArgument, "twice")
	wantCode(t, fails(t, g.app.CreateApp, &skerryv1.CreateAppRequest{State: skerryv1.AppState_APP_STATE_EPHEMERAL}), connect.CodeInvalidArgument, "description")
	err := fails(t, g.app.CreateApp, &skerryv1.CreateAppRequest{Description: "d", State: skerryv1.AppState_APP_STATE_DEPLOYED})
	wantCode(t, err, connect.CodeInvalidArgument, "state")
	err = fails(t, g.app.CreateApp, &skerryv1.CreateAppRequest{Description: "d", State: skerryv1.AppState_APP_STATE_EPHEMERAL, Environment: "dev"})
	wantCode(t, err, connect.CodeNotFound, "environment")
}

func TestSecretsAreSealedAndGoWithTheirApp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g, stop := startIn(t, dir, nil)
	const value = "correct horse battery staple"
	id := g.create(t, skerryv1.AppState_APP_STATE_EPHEMERAL)
	st := call(t, g.secret.CreateSecret, &skerryv1.CreateSecretRequest{AppId: id, Variables: map[string]string{"PASSWORD_NAME": value}}).GetSecretId()
	other := g.create(t, skerryv1.AppState_APP_STATE_EPHEMERAL)
	image := g.mustImage(t)
	def := function("f", image)
	def.SecretIds = []string{st}
	publish := func(app string) *skerryv1.PublishAppRequest {
		return &skerryv1.PublishAppRequest{AppId: app, Functions: []*skerryv1.FunctionDefinition{def}}
	}
	call(t, g.app.PublishApp, publish(id))
	wantCode(t, fails(t, g.app.PublishApp, publish(other)), connect.CodeNotFound, st)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(value)) || bytes.Contains(content, []byte("PASSWORD_NAME")) || bytes.Contains(content, []byte(g.admin.Secret)) {
			t.Errorf("%s holds a secret in clear", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(g.log.String(), value) {
		t.Error("the log holds a secret")
	}
	call(t, g.app.StopApp, &skerryv1.StopAppRequest{App: id})
	g.awaitStop(t, id)
	wantCode(t, fails(t, g.app.PublishApp, publish(other)), connect.CodeNotFound, "there is none")
	err = fails(t, g.secret.CreateSecret, &skerryv1.CreateSecretRequest{AppId: id, Variables: map[string]string{"A": "b"}})
	wantCode(t, err, connect.CodeFailedPrecondition, "stopped")
	stop()
}
