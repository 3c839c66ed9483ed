package queue_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/jetstream/flowtest"
	"github.com/skerry-dev/skerry/gateway/queue"
	"github.com/skerry-dev/skerry/internal/fault"
)

// TestALostServer kills each server of a cluster in turn while items are put and taken, and while what memory has is read from the cluster again:
// each item is got once, those of one putter in their order. A request that is told that nobody answers is asked again, as clients do.
func TestALostServer(t *testing.T) {
	cluster := flowtest.Clustered()
	if cluster == nil {
		t.Log("of a cluster")
		return
	}
	r := newRig(t)
	const putters, puts, size = 3, 40, 3
	for server := range flowtest.Size {
		half := make(chan struct{})
		var workers sync.WaitGroup
		for p := range putters {
			workers.Go(func() {
				for i := range puts {
					if p == 0 && i == puts/2 {
						close(half)
					}
					var values []string
					for n := range size {
						values = append(values, fmt.Sprintf("%d %d %d", server, p, i*size+n))
					}
					q := r.request(time.Minute)
					ok, err := asked(t, func() (bool, error) { return r.s.Put(ctx, q, items(values...), time.Hour) })
					if !ok || err != nil {
						t.Errorf("put: %t, %v", ok, err)
					}
				}
			})
		}
		got := make(chan string, putters*puts*size)
		workers.Go(func() {
			defer close(got)
			for n := 0; n < putters*puts*size; {
				q := r.request(time.Minute)
				all, err := asked(t, func() ([]queue.Item, error) { return r.s.Take(ctx, q, 2) })
				if err != nil || len(all) == 0 {
					t.Errorf("take: %d items, %v", len(all), err)
					return
				}
				for _, v := range texts(all) {
					got <- v
				}
				n += len(all)
			}
		})
		<-half
		cluster.Kill(server)
		workers.Wait()
		next := [putters]int{}
		for v := range got {
			var s, p, n int
			if _, err := fmt.Sscan(v, &s, &p, &n); err != nil || s != server || p < 0 || p >= putters || n != next[p] {
				t.Fatalf("got %q, want the putter's %d of server %d: %v", v, next[p], server, err)
			}
			next[p]++
		}
		r.put("kept")
		r.crash()
		r.take(r.request(time.Minute), 5, "kept")
		if err := cluster.Restart(t.Context(), server); err != nil {
			t.Fatal(err)
		}
	}
	r.length(0)
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
