package call

import (
	"context"
	"errors"

	"github.com/skerry-dev/skerry/internal/fault"
)

// AwaitEnd returns once all inputs of a call have ended; at once for a call that is not known any more. Errors: fault.Unavailable; ctx's own.
func (s *Service) AwaitEnd(ctx context.Context, callID string) error {
	state, err := s.Get(ctx, callID)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	x := s.NewSession()
	defer x.Close()
	x.Watch(ctx, Watch{CallID: callID})
	ended := map[uint32]bool{}
	for {
		f, err := x.Next(ctx)
		if err != nil {
			return err
		}
		for _, o := range f.Outputs {
			ended[o.Key.Index] = true
		}
		for _, now := range f.States {
			state = now
		}
		if len(f.Refused) > 0 || state.Expired || len(ended) >= int(state.NumInputs) {
			return nil
		}
	}
}
