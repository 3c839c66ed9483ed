package network

import (
	"errors"
	"fmt"

	"github.com/skerry-dev/skerry/worker/network/rules"
)

// reap removes everything of the instance from the host, whichever process made it. Interfaces go before the rules that confine them.
func reap(cfg Config) error {
	links, err := ownLinks(cfg.Instance)
	if err != nil {
		return err
	}
	var indices []int
	for _, l := range links {
		indices = append(indices, l.Attrs().Index)
	}
	errs := []error{removeLinks(cfg.Instance, indices)}
	errs = append(errs, removeRunDir(cfg.RunDir, cfg.Instance))
	if errors.Join(errs...) == nil {
		errs = append(errs, rules.Delete(tableName(cfg.Instance)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the network of instance %s: %w", cfg.Instance, err)
	}
	return nil
}
