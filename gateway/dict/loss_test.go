package dict_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/skerry-dev/skerry/gateway/dict/dicttest"
	"github.com/skerry-dev/skerry/gateway/jetstream/flowtest"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// steps is how often each worker of TestALostServer does its work for each server that is lost.
const steps = 40

// TestALostServer kills each server of a cluster in turn, in the middle of all that is done with dicts. A request that is told that nobody answers
// is asked again, as clients do.
func TestALostServer(t *testing.T) {
	cluster := flowtest.Clustered()
	if cluster == nil {
		t.Log("of a cluster")
		return
	}
	r := newRig(t)
	for server := range flowtest.Size {
		half := make(chan struct{})
		var workers sync.WaitGroup
		workers.Go(func() { r.readsWhatItPut(server, half) })
		workers.Go(func() { r.oneIsFirst(server) })
		workers.Go(func() { r.poppedOnce(server) })
		workers.Go(func() { r.updatedWhole(server) })
		<-half
		cluster.Kill(server)
		workers.Wait()
		if err := cluster.Restart(t.Context(), server); err != nil {
			t.Fatal(err)
		}
	}
	if n := intents(t, r); n != 0 {
		t.Errorf("%d intents are left", n)
	}
}

// asked asks until somebody answers.
func asked[T any](t *testing.T, f func() (T, error)) (answer T, err error) {
	for range 10 {
		if answer, err = f(); !errors.Is(err, fault.Unavailable) {
			return answer, err
		}
		t.Logf("asked again: %v", err)
	}
	return answer, err
}

func (r *rig) readsWhatItPut(server int, half chan<- struct{}) {
	for i := range steps {
		e := dicttest.Entry("own", fmt.Sprint(server, i))
		if _, err := asked(r.t, func() (bool, error) { return r.s.Put(ctx, r.id, e, false) }); err != nil {
			r.t.Errorf("put: %v", err)
		}
		if i == steps/2 {
			close(half)
		}
		v, err := asked(r.t, func() (string, error) {
			v, err := r.s.Get(ctx, r.id, e.Key)
			return string(v.Inline), err
		})
		if err != nil || v != string(e.Value.Inline) {
			r.t.Errorf("read %q after %q was put: %v", v, e.Value.Inline, err)
		}
	}
}

func (r *rig) oneIsFirst(server int) {
	for i := range steps {
		var first atomic.Int32
		var wg sync.WaitGroup
		for n := range 3 {
			wg.Go(func() {
				e := dicttest.Entry(fmt.Sprint("first", server, i), fmt.Sprint(n))
				created, err := asked(r.t, func() (bool, error) { return r.s.Put(ctx, r.id, e, true) })
				if err != nil {
					r.t.Errorf("put if missing: %v", err)
				}
				if created {
					first.Add(1)
				}
			})
		}
		wg.Wait()
		if n := first.Load(); n != 1 {
			r.t.Errorf("%d were first", n)
		}
	}
}

func (r *rig) poppedOnce(server int) {
	for i := range steps {
		e := dicttest.Entry(fmt.Sprint("popped", server, i), "x")
		if _, err := asked(r.t, func() (bool, error) { return r.s.Put(ctx, r.id, e, false) }); err != nil {
			r.t.Errorf("put: %v", err)
		}
		var popped atomic.Int32
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				request := ident.Random(22)
				_, err := asked(r.t, func() (string, error) {
					v, err := r.s.Pop(ctx, r.id, e.Key, request)
					return string(v.Inline), err
				})
				if err == nil {
					popped.Add(1)
				} else if !errors.Is(err, fault.NotFound) {
					r.t.Errorf("pop: %v", err)
				}
			})
		}
		wg.Wait()
		if has, err := asked(r.t, func() (bool, error) { return r.s.Has(ctx, r.id, e.Key) }); popped.Load() != 1 || has || err != nil {
			r.t.Errorf("popped %d times, is there: %t, %v", popped.Load(), has, err)
		}
	}
}

// updatedWhole works with a dict of its own, so that it can count.
func (r *rig) updatedWhole(server int) {
	id := ident.New(ident.Dict)
	for i := range steps {
		all, want := many(10, fmt.Sprint(server, i))
		if _, err := asked(r.t, func() (bool, error) { return true, r.s.Update(ctx, id, all) }); err != nil {
			r.t.Errorf("update: %v", err)
		}
		found, err := asked(r.t, func() (map[string]string, error) { return r.read(id) })
		if err != nil || fmt.Sprint(found) != fmt.Sprint(want) {
			r.t.Errorf("read %v after %v was put: %v", found, want, err)
		}
		n, err := asked(r.t, func() (uint64, error) { return r.s.Count(ctx, id) })
		if n != 10 || err != nil {
			r.t.Errorf("%d entries: %v", n, err)
		}
	}
	if _, err := asked(r.t, func() (bool, error) { return true, r.s.Clear(ctx, id) }); err != nil {
		r.t.Errorf("clear: %v", err)
	}
	if n, err := asked(r.t, func() (uint64, error) { return r.s.Count(ctx, id) }); n != 0 || err != nil {
		r.t.Errorf("%d entries after a clear: %v", n, err)
	}
}
