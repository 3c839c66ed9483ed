package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/internal/config"
	"github.com/skerry-dev/skerry/internal/fault"
)

func TestRemoteGateway(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	variables := func(name string) string {
		return map[string]string{workerTokenVariable: "tk-2.other", builderTokenVariable: "tk-3.builder"}[name]
	}
	a, err := remoteGateway(config.Config{Gateway: "https://g:1", TokenFile: file("token", "tk-1.secret\n")}, identity.Worker, variables)
	if err != nil || a.URL != "https://g:1" || a.Token != "tk-1.secret" || a.TLS != nil {
		t.Errorf("from a file: %+v, %v", a, err)
	}
	if a, err = remoteGateway(config.Config{Gateway: "https://g:1"}, identity.Worker, variables); err != nil || a.Token != "tk-2.other" {
		t.Errorf("from the environment: %+v, %v", a, err)
	}
	if a, err = remoteGateway(config.Config{Gateway: "https://g:1"}, identity.Builder, variables); err != nil || a.Token != "tk-3.builder" {
		t.Errorf("a builder's: %+v, %v", a, err)
	}
	for name, c := range map[string]struct {
		cfg  config.Config
		says string
	}{
		"no gateway":   {config.Config{}, "--gateway"},
		"no token":     {config.Config{Gateway: "https://g:1"}, "skerryd token new --role worker"},
		"no such file": {config.Config{Gateway: "https://g:1", TokenFile: filepath.Join(dir, "none")}, "token file"},
		"bad CA":       {config.Config{Gateway: "https://g:1", TokenFile: file("t", "x"), GatewayCA: file("ca", "no pem")}, "no certificate"},
	} {
		if _, err := remoteGateway(c.cfg, identity.Worker, func(string) string { return "" }); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWorkerNeedsAGateway(t *testing.T) {
	var out strings.Builder
	root := newRoot(&out, &out)
	root.SetArgs([]string{"worker", "--data", filepath.Join(t.TempDir(), "d"), "--gateway", ""})
	if err := root.ExecuteContext(t.Context()); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "--gateway") {
		t.Errorf("error = %v", err)
	}
}
