package sandbox_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/skerry-dev/skerry/gateway/sandbox"
)

func (r *rig) Follow(sb sandbox.Sandbox) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.followed[sb.ID] = append(r.followed[sb.ID], sb.State)
}

// states are those that the follower was told of, each once.
func (r *rig) states(id string) []sandbox.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Compact(slices.Clone(r.followed[id]))
}

func TestFollowerHearsOfEverySandbox(t *testing.T) {
	r, w := newRig(t), newWorker()
	leave := r.join(w)
	ended, kept := r.create(nil), r.create(nil)
	w.runs(ended.ID)
	r.await(ended.ID, sandbox.Running)
	w.runs(kept.ID)
	r.await(kept.ID, sandbox.Running)
	if _, err := r.Terminate(t.Context(), ended.ID, true); err != nil {
		t.Fatal(err)
	}
	if got, want := r.states(ended.ID), []sandbox.State{sandbox.Starting, sandbox.Running, sandbox.Ended}; !slices.Equal(got, want) {
		t.Errorf("of one that ended: %v, want %v", got, want)
	}
	<-w.forgotten
	leave()
	r.stop()
	next := start(t, r.db, r.app)
	if got, want := next.states(kept.ID), []sandbox.State{sandbox.Running}; !slices.Equal(got, want) {
		t.Errorf("of one of an earlier gateway: %v, want %v", got, want)
	}
	if got := next.states(ended.ID); len(got) > 0 {
		t.Errorf("of one that had ended: %v", got)
	}
}

func TestReachWaitsForTheWorker(t *testing.T) {
	r, w := newRig(t), newWorker()
	leave := r.join(w)
	sb := r.create(nil)
	w.runs(sb.ID)
	r.await(sb.ID, sandbox.Running)
	leave()
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(errSeen)
	if _, _, err := r.Reach(gone, sb.ID); !errors.Is(err, errSeen) {
		t.Errorf("without its worker: %v", err)
	}
	reached := make(chan error, 1)
	go func() {
		id, _, err := r.Reach(t.Context(), sb.ID)
		if id != w.id {
			err = errors.Join(err, errors.New("at worker "+id))
		}
		reached <- err
	}()
	r.join(w)
	if err := <-reached; err != nil {
		t.Error(err)
	}
}
