package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// prepare cuts the container of a bundle off from its neighbours and puts it into its control group. It returns the container's spec.
func (c Config) prepare(bundle, group string) (*specs.Spec, error) {
	file := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	spec := new(specs.Spec)
	if err := json.Unmarshal(data, spec); err != nil {
		return nil, fmt.Errorf("bundle %q: %w", bundle, err)
	}
	if spec.Linux == nil {
		spec.Linux = &specs.Linux{}
	}
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type == specs.NetworkNamespace && ns.Path != "" {
			if err := isolate(ns.Path); err != nil {
				return nil, err
			}
		}
	}
	// runc makes a group in any case: below the one whose limits hold.
	spec.Linux.CgroupsPath = group + "/" + runcGroup
	if data, err = json.Marshal(spec); err != nil {
		return nil, fmt.Errorf("bundle %q: %w", bundle, err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return spec, nil
}

// runcGroup is the group that runc makes within a step's.
const runcGroup = "step"
