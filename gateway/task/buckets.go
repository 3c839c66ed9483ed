package task

import (
	"context"
	"fmt"

	"github.com/skerry-dev/skerry/gateway/function"
)

// buckets opens the secrets of a function's buckets, for each container as well.
func (s *Scheduler) buckets(ctx context.Context, fn *function.Function) ([]function.BucketCredentials, error) {
	out, err := function.OpenBuckets(fn.Definition.Buckets, func(secretID string) (map[string]string, error) {
		return s.d.Secrets.SecretEnv(ctx, []string{secretID})
	})
	if err != nil {
		return nil, fmt.Errorf("function %q: %w", fn.Definition.Name, err)
	}
	return out, nil
}
