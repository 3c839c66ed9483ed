package network

import (
	"errors"
	"fmt"

	"github.com/skerry-dev/skerry/worker/network/rules"
)

// reap removes everything of the instance from the host, whichever process made it, but for what the kept endpoints need: their interfaces
// and namespaces and, if there are any, the name server's interface and the rules. Interfaces go before the rules that confine them.
func reap(cfg Config, keep endpoints) error {
	links, err := ownLinks(cfg.Instance)
	if err != nil {
		return err
	}
	var indices []int
	for _, l := range links {
		needed := keep.hasLink(l.Attrs().Name) || len(keep) > 0 && l.Attrs().Name == forwarderName(cfg.Instance)
		if !needed {
			indices = append(indices, l.Attrs().Index)
		}
	}
	errs := []error{removeLinks(cfg.Instance, indices)}
	errs = append(errs, removeRunDir(cfg.RunDir, cfg.Instance, keep))
	if errors.Join(errs...) == nil && len(keep) == 0 {
		errs = append(errs, rules.Delete(tableName(cfg.Instance)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the network of instance %s: %w", cfg.Instance, err)
	}
	return nil
}
