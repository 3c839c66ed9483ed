package sandbox

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// waiting has somebody wait for a turn; done gets the name when it has come.
func waiting(t *testing.T, take func(context.Context) func(), name string, done func(string)) {
	t.Helper()
	go func() {
		end := take(t.Context())
		done(name)
		end()
	}()
	synctest.Wait()
}

func TestTurnsAreInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := &turns{free: 1}
		end := turns.sandbox(t.Context())
		var mu sync.Mutex
		var got []string
		done := func(name string) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, name)
		}
		waiting(t, turns.ended, "end", done)
		waiting(t, turns.sandbox, "sandbox 1", done)
		waiting(t, turns.sandbox, "sandbox 2", done)
		waiting(t, turns.process, "process", done)
		if len(got) > 0 {
			t.Errorf("%q did not wait", got)
		}
		end()
		end()
		synctest.Wait()
		if want := []string{"process", "sandbox 1", "sandbox 2", "end"}; !slices.Equal(got, want) {
			t.Errorf("order is %q, want %q", got, want)
		}
		if turns.free != 1 {
			t.Errorf("%d turns are free, want 1", turns.free)
		}
	})
}

func TestSlowTurnsEndByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := &turns{free: 1}
		slow := turns.process(t.Context())
		began := time.Now()
		next := turns.sandbox(t.Context())
		if waited := time.Since(began); waited != turnTime {
			t.Errorf("waited %s, want %s", waited, turnTime)
		}
		slow()
		if turns.free != 0 {
			t.Error("a turn that had ended by itself was given back again")
		}
		next()
		if turns.free != 1 {
			t.Errorf("%d turns are free, want 1", turns.free)
		}
	})
}

func TestNobodyWaitsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := &turns{} // others go before, again and again
		began := time.Now()
		turns.sandbox(t.Context())()
		if waited := time.Since(began); waited != turnWait {
			t.Errorf("waited %s, want %s", waited, turnWait)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		turns.ended(ctx)()
		if waited := time.Since(began); waited != turnWait {
			t.Errorf("waited %s, though nobody wanted it any more", waited)
		}
		if len(turns.sandboxes)+len(turns.ends) > 0 || turns.free != 0 {
			t.Errorf("left are %d and %d who wait, and %d turns", len(turns.sandboxes), len(turns.ends), turns.free)
		}
	})
}
