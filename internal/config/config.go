// Package config says how a skerryd is set up: defaults, then a strict TOML file, then SKERRY_* variables, then flags, each over the one
// before.
//
// Every setting has one name: "tls_cert" in the file, SKERRY_TLS_CERT in the environment, --tls-cert as a flag. An unknown key or a value
// of the wrong form is an error that names it.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Defaults.
const (
	// DefaultData is the data folder where skerryd runs as root.
	DefaultData = "/var/lib/skerry"
	// DefaultBases is the folder of base images, which all instances of a host share.
	DefaultBases = "/var/lib/skerry/bases"
	// DefaultRun is the folder of sockets and of what ends with the process.
	DefaultRun = "/run/skerry"
	// DefaultFile is the settings file that is read if it exists.
	DefaultFile = "/etc/skerry/skerryd.toml"
	// DefaultListen is the address of the one port.
	DefaultListen = "127.0.0.1:7070"
	// DefaultProfile is the profile of ~/.skerry.toml that the first start writes.
	DefaultProfile = "local"
	// DefaultHeartbeatWindow is in seconds: three heartbeats of a client.
	DefaultHeartbeatWindow = 45
	// DefaultSync is how JetStream's files are synced.
	DefaultSync = SyncInterval
	// DefaultPlatform is how gVisor runs.
	DefaultPlatform = "systrap"
	// DefaultBuildRuntime runs build steps in gVisor.
	DefaultBuildRuntime = RuntimeRunsc
)

// Values of settings that are one of a few.
const (
	SyncInterval = "interval" // every 100 ms: a crash of a process loses nothing, one of the machine what SQL does not have
	SyncAlways   = "always"   // before each acknowledgement

	RuntimeRunsc = "runsc" // gVisor
	RuntimeRunc  = "runc"  // the host's kernel: recipes are then trusted with the host

	FormatAuto = "auto" // text on a terminal, else JSON
	FormatText = "text"
	FormatJSON = "json"
)

// Config is a whole set-up. Fields are described by Options.
type Config struct {
	Data, Bases, Run                   string
	DB, NATS, NATSCredentials, NATSCA  string
	Blobs                              string
	NATSReplicas                       int
	Listen, TLSCert, TLSKey            string
	Insecure                           bool
	SecretsKey                         string
	SecretsKeysBefore                  []string
	HeartbeatWindow, BlobGrace         int
	SharedLayers                       int
	WriteProfile                       string
	Domain, IngressListen, TunnelPorts string
	IngressCert, IngressKey            []string
	TrustedProxies                     []string
	Sync                               string
	LogFormat, LogLevel                string
	Gateway, TokenFile, GatewayCA      string
	ExternalBuilders                   bool
	Labels                             []string
	CPU                                float64
	Memory                             int
	Disk, ImageCache, HotSandboxes     int
	VolumeWrites                       int
	AllowPrivate, Nameservers          []string
	Subnet, BuildSubnet                string
	EgressRoots                        string
	BucketEndpoints                    []string
	Runsc, Platform, Guest             string
	Buildkit, Buildkitd                string
	BuildRuntime                       string
	BuildCPU                           float64
	BuildMemory, BuildDisk             int
	BuildProcesses, BuildTimeout       int
	BuildTotalTimeout                  int
	Builds                             int
	BuildEnv                           []string
	CABundle                           string
	PythonFrom                         []string
	PythonImage                        string
	RegistryMirrors, PlainRegistries   []string
	BuildCache                         string
	DebianMirror, DebianSecurityMirror string
}

// NewConfig returns the defaults.
func NewConfig() Config {
	return Config{
		Data: defaultData(), Bases: DefaultBases, Run: DefaultRun, Listen: DefaultListen, WriteProfile: DefaultProfile, Sync: DefaultSync,
		LogFormat: FormatAuto, LogLevel: "info", HeartbeatWindow: DefaultHeartbeatWindow, Platform: DefaultPlatform, BuildRuntime: DefaultBuildRuntime,
		BuildEnv:   slices.Clone(DefaultBuildEnv),
		PythonFrom: slices.Clone(DefaultPythonFrom),
	}
}

// DefaultPythonFrom is where bases with Python come from: Debian's releases, then interpreters of the host.
var DefaultPythonFrom = []string{"debian", "host"}

// DefaultBuildEnv names the variables of skerryd's own environment that build steps get: where packages come from.
var DefaultBuildEnv = []string{
	"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL",
}

func defaultData() string {
	if os.Geteuid() == 0 {
		return DefaultData
	}
	if d := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "skerry")
	}
	if h, err := os.UserHomeDir(); err == nil {
		return filepath.Join(h, ".local", "share", "skerry")
	}
	return DefaultData
}

// Instance tells this skerryd from others on its host: six hexadecimal digits of its data folder's hash.
func (c *Config) Instance() string {
	sum := sha256.Sum256([]byte(c.Data))
	return hex.EncodeToString(sum[:3])
}

// RunDir is the instance's own folder below Run.
func (c *Config) RunDir() string { return filepath.Join(c.Run, c.Instance()) }

// PIDFile is where the process id of the skerryd of a data folder is, locked while it runs.
func (c *Config) PIDFile() string { return filepath.Join(c.Data, "skerryd.pid") }

// LogFile is where a skerryd in the background writes.
func (c *Config) LogFile() string { return filepath.Join(c.Data, "skerryd.log") }

// Load puts a file and the environment over the defaults. An empty path is DefaultFile if that exists. Lookup is os.LookupEnv but for
// tests. Errors: fault.Invalid, which names the key and where it is; fault.NotFound for a named file that is not there.
func Load(path string, lookup func(string) (string, bool)) (Config, error) {
	c := NewConfig()
	if err := loadFile(&c, path); err != nil {
		return c, err
	}
	for _, o := range Options(&c) {
		value, ok := lookup(o.Env())
		if !ok || value == "" {
			continue
		}
		if err := o.Set(value); err != nil {
			return c, fault.New(fault.Invalid, "%s=%q: %w", o.Env(), value, err)
		}
	}
	return c, nil
}

func loadFile(c *Config, path string) error {
	optional := path == ""
	if optional {
		path = DefaultFile
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && optional:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, "settings file %q: there is none", path)
	case err != nil:
		return fmt.Errorf("settings file: %w", err)
	}
	values := map[string]any{}
	if err := toml.Unmarshal(text, &values); err != nil {
		return fault.New(fault.Invalid, "settings file %q: %w", path, err)
	}
	options := map[string]Option{}
	for _, o := range Options(c) {
		options[o.Key] = o
	}
	for key, value := range values {
		o, ok := options[key]
		if !ok {
			return fault.New(fault.Invalid, "settings file %q: unknown key %q; skerryd up --help lists the keys", path, key)
		}
		if err := o.setValue(value); err != nil {
			return fault.New(fault.Invalid, "settings file %q: key %q: %w", path, key, err)
		}
	}
	return nil
}

// Check returns a fault.Invalid for settings that can't be. It makes paths absolute.
func (c *Config) Check() error {
	for _, p := range []struct {
		key  string
		path *string
	}{
		{"data", &c.Data}, {"bases", &c.Bases}, {"run", &c.Run}, {"tls_cert", &c.TLSCert}, {"tls_key", &c.TLSKey}, {"guest", &c.Guest},
		{"token_file", &c.TokenFile}, {"gateway_ca", &c.GatewayCA}, {"nats_credentials", &c.NATSCredentials}, {"nats_ca", &c.NATSCA},
	} {
		if *p.path == "" {
			continue
		}
		abs, err := filepath.Abs(*p.path)
		if err != nil {
			return fault.New(fault.Invalid, "%s %q: %w", p.key, *p.path, err)
		}
		*p.path = abs
	}
	for key, list := range map[string][]string{"ingress_cert": c.IngressCert, "ingress_key": c.IngressKey} {
		for i, path := range list {
			abs, err := filepath.Abs(path)
			if err != nil {
				return fault.New(fault.Invalid, "%s %q: %w", key, path, err)
			}
			list[i] = abs
		}
	}
	for _, e := range []struct {
		key, value string
		allowed    []string
	}{
		{"sync", c.Sync, []string{SyncInterval, SyncAlways}},
		{"log_format", c.LogFormat, []string{FormatAuto, FormatText, FormatJSON}},
		{"log_level", c.LogLevel, []string{"debug", "info", "warn", "error"}},
		{"platform", c.Platform, []string{"systrap", "kvm", "ptrace"}},
		{"build_runtime", c.BuildRuntime, []string{RuntimeRunsc, RuntimeRunc}},
	} {
		if !slices.Contains(e.allowed, e.value) {
			return fault.New(fault.Invalid, "%s %q: want %s", e.key, e.value, strings.Join(e.allowed, ", "))
		}
	}
	if c.NATSReplicas < 0 || c.NATSReplicas > 5 {
		return fault.New(fault.Invalid, "nats_replicas %d: want 1, 3 or 5; 0: 3", c.NATSReplicas)
	}
	if c.HeartbeatWindow < 1 {
		return fault.New(fault.Invalid, "heartbeat_window %d: want seconds, 1 or more", c.HeartbeatWindow)
	}
	if c.CPU < 0 || c.Memory < 0 || c.Disk < 0 || c.Builds < 0 {
		return fault.New(fault.Invalid, "cpu, memory, disk and builds: want 0 (the default) or more")
	}
	if c.SharedLayers < -1 {
		return fault.New(fault.Invalid, "shared_layers: want 0 (the default), more, or -1")
	}
	if c.HotSandboxes < -1 {
		return fault.New(fault.Invalid, "hot_sandboxes: want 0 (the default), more, or -1")
	}
	if c.BlobGrace < 0 || c.ImageCache < 0 || c.VolumeWrites < 0 {
		return fault.New(fault.Invalid, "blob_grace, image_cache and volume_writes: want 0 (the default) or more")
	}
	if c.BuildCPU < 0 || c.BuildMemory < 0 || c.BuildDisk < 0 || c.BuildProcesses < 0 || c.BuildTimeout < 0 || c.BuildTotalTimeout < 0 {
		return fault.New(fault.Invalid, "build_cpu, build_memory, build_disk, build_processes, build_timeout and build_total_timeout: want 0 (the default) or more")
	}
	if c.BuildTotalTimeout > 0 && c.BuildTotalTimeout < c.BuildTimeout {
		return fault.New(fault.Invalid, "build_total_timeout %d: is less than the %d seconds of build_timeout, which one step of a build may run", c.BuildTotalTimeout, c.BuildTimeout)
	}
	if err := c.checkBuildkit(); err != nil {
		return err
	}
	_, err := c.LabelMap()
	return err
}

// checkBuildkit refuses settings that say how steps run where they run in a buildkitd that is not ours, which knows nothing of them.
func (c *Config) checkBuildkit() error {
	if c.Buildkit == "" {
		return nil
	}
	if !strings.Contains(c.Buildkit, "://") {
		return fault.New(fault.Invalid, `buildkit %q: want an address, such as "unix:///run/buildkit/buildkitd.sock"`, c.Buildkit)
	}
	for key, set := range map[string]bool{
		"build_cpu": c.BuildCPU != 0, "build_memory": c.BuildMemory != 0, "build_disk": c.BuildDisk != 0, "build_processes": c.BuildProcesses != 0,
		"build_timeout": c.BuildTimeout != 0, "build_subnet": c.BuildSubnet != "", "build_runtime": c.BuildRuntime != RuntimeRunsc,
		"buildkitd": c.Buildkitd != "", "registry_mirrors": len(c.RegistryMirrors) > 0, "plain_registries": len(c.PlainRegistries) > 0,
	} {
		if set {
			return fault.New(fault.Invalid, "%s and buildkit: the buildkitd at %s has a configuration of its own, which says that; leave one of the two out", key, c.Buildkit)
		}
	}
	return nil
}

// labelForm is a worker's label: name=value.
var labelForm = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}=[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// LabelMap returns the worker's labels by name, or a fault.Invalid.
func (c *Config) LabelMap() (map[string]string, error) {
	labels := make(map[string]string, len(c.Labels))
	for _, text := range c.Labels {
		if !labelForm.MatchString(text) {
			return nil, fault.New(fault.Invalid, "label %.80q: want name=value, such as region=eu-west", text)
		}
		name, value, _ := strings.Cut(text, "=")
		labels[name] = value
	}
	return labels, nil
}
