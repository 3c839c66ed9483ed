package solve

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"

	"github.com/skerry-dev/skerry/imagebuilder/bridge"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
)

func configPath(c DaemonConfig) string  { return filepath.Join(c.RunDir, "buildkitd.toml") }
func pidPath(c DaemonConfig) string     { return filepath.Join(c.RunDir, "buildkitd.pid") }
func runtimePath(c DaemonConfig) string { return filepath.Join(c.RunDir, "buildkit-runtime") }
func cniPath(c DaemonConfig) string     { return filepath.Join(c.RunDir, "cni.conflist") }
func cniData(c DaemonConfig) string     { return filepath.Join(c.RunDir, "cni") }

// prepare makes the folders, files and network that the daemon needs.
func (d *Daemon) prepare() error {
	c := d.config
	for _, dir := range []string{c.Root, c.RunDir, c.RuntimeState} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := bridge.Up(c.Bridge); err != nil {
		return err
	}
	network, err := bridge.CNI(c.Bridge, cniData(c))
	if err != nil {
		return err
	}
	config, err := toml.Marshal(daemonToml(c))
	if err != nil {
		return err
	}
	// BuildKit takes one path as its runtime, not a command.
	wrapper := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\"\n", recipe.QuoteAll(c.Runtime))
	for _, f := range []struct {
		path string
		data []byte
		mode os.FileMode
	}{{configPath(c), config, 0o600}, {cniPath(c), network, 0o600}, {runtimePath(c), []byte(wrapper), 0o700}} {
		if err := os.WriteFile(f.path, f.data, f.mode); err != nil {
			return err
		}
	}
	return nil
}

type object = map[string]any

func daemonToml(c DaemonConfig) object {
	plugins := c.CNIPlugins
	if plugins == "" {
		plugins = DefaultCNIPlugins
	}
	cache, free := c.CacheBytes, c.MinFreeBytes
	if cache == 0 {
		cache = DefaultCacheBytes
	}
	if free == 0 {
		free = DefaultMinFreeBytes
	}
	oci := object{
		"enabled": true, "binary": runtimePath(c), "networkMode": "cni", "cniConfigPath": cniPath(c), "cniBinaryPath": plugins,
		"gc": true, "maxUsedSpace": cache, "minFreeSpace": free, "reservedSpace": cache / 10,
		"max-parallelism": c.Parallelism,
	}
	out := object{
		"root":   c.Root,
		"log":    object{"format": "text", "level": "info"},
		"grpc":   object{"address": []string{socketAddress(c)}},
		"worker": object{"oci": oci, "containerd": object{"enabled": false}},
		"cdi":    object{"disabled": true},
	}
	registries := object{}
	for host, r := range c.Registries {
		one := object{"mirrors": r.Mirrors}
		if r.PlainHTTP { // false would mean TLS for this host itself too
			one["http"] = true
		}
		registries[host] = one
	}
	if len(registries) > 0 {
		out["registry"] = registries
	}
	if len(c.Nameservers) > 0 {
		out["dns"] = object{"nameservers": c.Nameservers}
	}
	return out
}

func socketAddress(c DaemonConfig) string {
	return "unix://" + filepath.Join(c.RunDir, "buildkitd.sock")
}
