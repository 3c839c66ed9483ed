package gather_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/skerry-dev/skerry/gateway/gather"
)

func TestTakeReturnsWhatWaitsInOrder(t *testing.T) {
	q := gather.NewQueue[int]()
	q.Add()
	q.Add(1, 2)
	q.Add(3)
	for _, want := range [][]int{{1, 2}, {3}} {
		if got, err := q.Take(t.Context(), 2); err != nil || !slices.Equal(got, want) {
			t.Errorf("took %v, %v; want %v", got, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := q.Take(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("of an empty queue: %v, %v", got, err)
	}
}

func TestNothingIsLostBetweenManyAndOne(t *testing.T) {
	q := gather.NewQueue[int]()
	var adders sync.WaitGroup
	const each = 1000
	for range 4 {
		adders.Go(func() {
			for i := range each {
				q.Add(i)
			}
		})
	}
	sum, n := 0, 0
	for n < 4*each {
		got, err := q.Take(t.Context(), 7)
		if err != nil {
			t.Fatal(err)
		}
		n += len(got)
		for _, i := range got {
			sum += i
		}
	}
	adders.Wait()
	if want := 4 * each * (each - 1) / 2; sum != want {
		t.Errorf("sum %d, want %d", sum, want)
	}
}
