package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// readSpec reads the spec of a bundle's container.
func readSpec(bundle string) (*specs.Spec, error) {
	data, err := os.ReadFile(specFile(bundle))
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
	return spec, nil
}

func specFile(bundle string) string { return filepath.Join(bundle, "config.json") }

// confine cuts a container off from its neighbours and puts it into its control group.
func confine(spec *specs.Spec, group string) error {
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type == specs.NetworkNamespace && ns.Path != "" {
			if err := isolate(ns.Path); err != nil {
				return err
			}
		}
	}
	// runc makes a group in any case: below the one whose limits hold.
	spec.Linux.CgroupsPath = group + "/" + runcGroup
	return nil
}

func writeSpec(bundle string, spec *specs.Spec) error {
	data, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("bundle %q: %w", bundle, err)
	}
	if err := os.WriteFile(specFile(bundle), data, 0o600); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	return nil
}

// runcGroup is the group that runc makes within a step's.
const runcGroup = "step"
