package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// prepare gives the container of a bundle its limits and cuts it off from its neighbours.
func (c Config) prepare(bundle string) error {
	file := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return fmt.Errorf("bundle %q: %w", bundle, err)
	}
	if spec.Linux == nil {
		spec.Linux = &specs.Linux{}
	}
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type == specs.NetworkNamespace && ns.Path != "" {
			if err := isolate(ns.Path); err != nil {
				return err
			}
		}
	}
	if c.Limits.MemoryBytes == 0 {
		return nil
	}
	spec.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &c.Limits.MemoryBytes}}
	if c.Limits.Cgroup != "" {
		spec.Linux.CgroupsPath = path.Join(c.Limits.Cgroup, filepath.Base(bundle))
	}
	if data, err = json.Marshal(&spec); err != nil {
		return fmt.Errorf("bundle %q: %w", bundle, err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	return nil
}
