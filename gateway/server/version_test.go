package server_test

import (
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/server"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

// deploy publishes functions of modules under the name shop.
func (g *gateway) deploy(t *testing.T, image string, modules map[string]string) *skerryv1.PublishAppResponse {
	t.Helper()
	req := &skerryv1.PublishAppRequest{Name: "shop"}
	for name, module := range modules {
		def := function(name, image)
		def.Module = module
		req.Functions = append(req.Functions, def)
	}
	return call(t, g.app.PublishApp, req)
}

// TestVersions deploys, skips what is unchanged, pins, rolls back and over.
func TestVersions(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	image := g.mustImage(t)
	first := g.deploy(t, image, map[string]string{"buy": "m1", "sell": "m1"})
	if again := g.deploy(t, image, map[string]string{"buy": "m1", "sell": "m1"}); !again.GetUnchanged() || again.GetVersion() != 1 {
		t.Errorf("the same again: %v", again)
	}
	if second := g.deploy(t, image, map[string]string{"buy": "m2"}); second.GetUnchanged() || second.GetVersion() != 2 {
		t.Errorf("second: %v", second)
	}
	get := func(name string, version uint32) *skerryv1.GetFunctionResponse {
		return call(t, g.fn.GetFunction, &skerryv1.GetFunctionRequest{AppName: "shop", FunctionName: name, Version: version})
	}
	buy := get("buy", 0)
	if buy.GetDefinition().GetModule() != "m2" || buy.GetFunctionId() != first.GetFunctionIds()["buy"] {
		t.Errorf("buy: %v", buy)
	}
	wantCode(t, fails(t, g.fn.GetFunction, &skerryv1.GetFunctionRequest{AppName: "shop", FunctionName: "sell"}), connect.CodeNotFound, "sell")
	wantCode(t, fails(t, g.fn.GetFunctionStats, &skerryv1.GetFunctionStatsRequest{FunctionId: first.GetFunctionIds()["sell"]}), connect.CodeNotFound, "")
	pinned, sold := get("buy", 1), get("sell", 1)
	if pinned.GetDefinition().GetModule() != "m1" || pinned.GetFunctionId() == buy.GetFunctionId() || sold.GetDefinition().GetModule() != "m1" {
		t.Errorf("pinned: %v, %v", pinned, sold)
	}
	if again := get("buy", 1); again.GetFunctionId() != pinned.GetFunctionId() {
		t.Error("a pinned function has two ids")
	}
	wantCode(t, fails(t, g.fn.GetFunction, &skerryv1.GetFunctionRequest{AppName: "shop", FunctionName: "buy", Version: 9}), connect.CodeNotFound, "9")

	back := call(t, g.app.RedeployApp, &skerryv1.RedeployAppRequest{App: "shop"})
	if back.GetVersion() != 3 || back.GetSourceVersion() != 1 {
		t.Errorf("rolled back: %v", back)
	}
	if f := get("sell", 0); f.GetFunctionId() != first.GetFunctionIds()["sell"] || get("buy", 0).GetDefinition().GetModule() != "m1" {
		t.Errorf("after it: %v", f)
	}
	over := call(t, g.app.RedeployApp, &skerryv1.RedeployAppRequest{App: "shop", Rollover: true})
	if over.GetVersion() != 4 || over.GetSourceVersion() != 3 {
		t.Errorf("rolled over: %v", over)
	}
	wantCode(t, fails(t, g.app.RedeployApp, &skerryv1.RedeployAppRequest{App: "shop", Version: 17}), connect.CodeNotFound, "17")
	wantCode(t, fails(t, g.app.RedeployApp, &skerryv1.RedeployAppRequest{App: "shop", Version: 1, Rollover: true}), connect.CodeInvalidArgument, "rollover")
	wantCode(t, fails(t, g.app.RedeployApp, &skerryv1.RedeployAppRequest{App: "shoe"}), connect.CodeNotFound, "shoe")
	if history := call(t, g.app.GetAppHistory, &skerryv1.GetAppHistoryRequest{App: "shop"}).GetDeployments(); len(history) != 4 || history[0].GetVersion() != 4 {
		t.Errorf("history: %v", history)
	}
}

// TestAFunctionThatBecomesAClass has another id: callers of the one can't use the other.
func TestAFunctionThatBecomesAClass(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	image := g.mustImage(t)
	id := g.deploy(t, image, map[string]string{"buy": "m"}).GetFunctionIds()["buy"]
	def := function("buy", image)
	def.ClassSpec = &skerryv1.ClassSpec{Methods: []*skerryv1.Method{{Name: "now"}}}
	next := call(t, g.app.PublishApp, &skerryv1.PublishAppRequest{Name: "shop", Functions: []*skerryv1.FunctionDefinition{def}})
	if next.GetFunctionIds()["buy"] == id {
		t.Error("the class has the function's id")
	}
	wantCode(t, fails(t, g.fn.GetFunctionStats, &skerryv1.GetFunctionStatsRequest{FunctionId: id}), connect.CodeNotFound, "")
}

// TestAutoscalerBoundsLastUntilTheNextDeployment sets bounds at run time, refuses those that can't be, and forgets them with the version.
func TestAutoscalerBoundsLastUntilTheNextDeployment(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	image := g.mustImage(t)
	id := g.deploy(t, image, map[string]string{"buy": "m1"}).GetFunctionIds()["buy"]
	five, many := uint32(5), uint32(4_000_000_000)
	set := call(t, g.fn.UpdateAutoscaler, &skerryv1.UpdateAutoscalerRequest{FunctionId: id, MaxContainers: &five})
	if set.GetAutoscaler().GetMaxContainers() != 5 {
		t.Errorf("set: %v", set)
	}
	wantCode(t, fails(t, g.fn.UpdateAutoscaler, &skerryv1.UpdateAutoscalerRequest{FunctionId: id, MinContainers: &many}), connect.CodeInvalidArgument, "min_containers")
	seven := uint32(7)
	wantCode(t, fails(t, g.fn.UpdateAutoscaler, &skerryv1.UpdateAutoscalerRequest{FunctionId: id, MinContainers: &seven}), connect.CodeInvalidArgument, "max_containers")
	bounds := func() uint32 {
		def := call(t, g.fn.GetFunction, &skerryv1.GetFunctionRequest{AppName: "shop", FunctionName: "buy"}).GetDefinition()
		return def.GetAutoscaler().GetMaxContainers()
	}
	if n := bounds(); n != 5 {
		t.Errorf("max_containers is %d, was set to 5", n)
	}
	g.deploy(t, image, map[string]string{"buy": "m2"})
	if n := bounds(); n != 0 {
		t.Errorf("after a deployment max_containers is %d", n)
	}
}

// TestADetachedAppEndsWithItsWork stops by itself once its client is away and none of its inputs is left.
func TestADetachedAppEndsWithItsWork(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *server.Config) { c.HeartbeatWindow = 50 * time.Millisecond })
	id := g.create(t, skerryv1.AppState_APP_STATE_DETACHED)
	g.awaitStop(t, id)
	if s := g.state(t, id); s != skerryv1.AppState_APP_STATE_STOPPED {
		t.Errorf("state %v", s)
	}
}

// TestUnknownEnvironments are refused wherever one can be named.
func TestUnknownEnvironments(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for what, err := range map[string]error{
		"publish":  fails(t, g.app.PublishApp, &skerryv1.PublishAppRequest{Name: "shop", Environment: "dev"}),
		"lookup":   fails(t, g.app.LookupApp, &skerryv1.LookupAppRequest{Name: "shop", Environment: "dev", CreateIfMissing: true}),
		"list":     fails(t, g.app.ListApps, &skerryv1.ListAppsRequest{Environment: "dev"}),
		"history":  fails(t, g.app.GetAppHistory, &skerryv1.GetAppHistoryRequest{App: "shop", Environment: "dev"}),
		"stop":     fails(t, g.app.StopApp, &skerryv1.StopAppRequest{App: "shop", Environment: "dev"}),
		"redeploy": fails(t, g.app.RedeployApp, &skerryv1.RedeployAppRequest{App: "shop", Environment: "dev"}),
		"get":      fails(t, g.app.GetApp, &skerryv1.GetAppRequest{App: "shop", Environment: "dev"}),
		"function": fails(t, g.fn.GetFunction, &skerryv1.GetFunctionRequest{AppName: "shop", FunctionName: "f", Environment: "dev"}),
	} {
		if connect.CodeOf(err) != connect.CodeNotFound || !strings.Contains(err.Error(), `environment "dev"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
