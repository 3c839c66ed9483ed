package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/config"
	"github.com/skerry-dev/skerry/internal/fault"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "skerryd.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func env(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

func TestEachSourceIsOverTheOneBefore(t *testing.T) {
	path := write(t, `
listen = "127.0.0.1:1"
data = "/srv/skerry"
cpu = 4
insecure = true
allow_private = ["10.0.0.0/8", "192.168.0.0/16"]
`)
	c, err := config.Load(path, env(map[string]string{"SKERRY_LISTEN": "127.0.0.1:2", "SKERRY_CPU": "2.5", "SKERRY_TOKEN_ID": "not ours"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:2" || c.Data != "/srv/skerry" || c.CPU != 2.5 || !c.Insecure || c.Sync != config.DefaultSync {
		t.Errorf("config = %+v", c)
	}
	if want := []string{"10.0.0.0/8", "192.168.0.0/16"}; !slices.Equal(c.AllowPrivate, want) {
		t.Errorf("AllowPrivate = %v", c.AllowPrivate)
	}
	if len(c.Instance()) != 6 || !strings.HasPrefix(c.RunDir(), config.DefaultRun) {
		t.Errorf("Instance = %q, RunDir = %q", c.Instance(), c.RunDir())
	}
}

func TestStrictness(t *testing.T) {
	for name, c := range map[string]struct{ file, variable, value, says string }{
		"unknown key":     {file: `listn = "127.0.0.1:1"`, says: `unknown key "listn"`},
		"unknown table":   {file: "[nodes]\nlisten = \"x\"", says: `unknown key "nodes"`},
		"type of string":  {file: `listen = 7070`, says: `key "listen"`},
		"type of list":    {file: `allow_private = "10.0.0.0/8"`, says: "list of strings"},
		"type of element": {file: `allow_private = [1]`, says: "list of strings"},
		"not TOML":        {file: `listen: 1`, says: "settings file"},
		"number":          {variable: "SKERRY_CPU", value: "many", says: "SKERRY_CPU"},
		"bool":            {variable: "SKERRY_INSECURE", value: "maybe", says: "true or false"},
		"choice":          {variable: "SKERRY_SYNC", value: "never", says: "interval, always"},
		"level":           {variable: "SKERRY_LOG_LEVEL", value: "loud", says: "debug, info"},
		"negative":        {variable: "SKERRY_MEMORY", value: "-1", says: "or more"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := config.Load(write(t, c.file), env(map[string]string{c.variable: c.value}))
			if err == nil {
				err = cfg.Check()
			}
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error = %v, want one that says %q", err, c.says)
			}
		})
	}
	if _, err := config.Load("/nowhere/skerryd.toml", env(nil)); !errors.Is(err, fault.NotFound) {
		t.Errorf("a named file that is missing: %v", err)
	}
}

func TestOptionsAreNamedOnce(t *testing.T) {
	var c config.Config
	seen := map[string]bool{}
	for _, o := range config.Options(&c) {
		if seen[o.Key] || o.Usage == "" || o.Group == "" {
			t.Errorf("option %q: twice, or without usage or group", o.Key)
		}
		seen[o.Key] = true
	}
}

func TestTimeOfBuilds(t *testing.T) {
	for says, c := range map[string][2]int{"": {60, 60}, "build_total_timeout 59": {59, 60}, "or more": {-1, 0}} {
		config := config.NewConfig()
		config.BuildTotalTimeout, config.BuildTimeout = c[0], c[1]
		if err := config.Check(); (says == "") != (err == nil) || err != nil && (!errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%v: got %v", c, err)
		}
	}
}

func TestBuildkitOfTheOperator(t *testing.T) {
	load := func(change func(*config.Config)) error {
		c := config.NewConfig()
		c.Buildkit = "unix:///run/buildkit/buildkitd.sock"
		change(&c)
		return c.Check()
	}
	if err := load(func(*config.Config) {}); err != nil {
		t.Errorf("alone: %v", err)
	}
	for key, change := range map[string]func(*config.Config){
		"build_memory":     func(c *config.Config) { c.BuildMemory = 1 },
		"build_runtime":    func(c *config.Config) { c.BuildRuntime = config.RuntimeRunc },
		"build_subnet":     func(c *config.Config) { c.BuildSubnet = "10.0.0.0/24" },
		"registry_mirrors": func(c *config.Config) { c.RegistryMirrors = []string{"a=b"} },
		"buildkit ":        func(c *config.Config) { c.Buildkit = "/run/buildkit" },
	} {
		if err := load(change); !errors.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("%s: got %v", key, err)
		}
	}
}
