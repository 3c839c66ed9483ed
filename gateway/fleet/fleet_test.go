package fleet_test

import (
	"errors"
	"testing"

	"github.com/skerry-dev/skerry/gateway/fleet"
	"github.com/skerry-dev/skerry/gateway/placement"
	"github.com/skerry-dev/skerry/internal/fault"
)

func TestReserve(t *testing.T) {
	f := fleet.New()
	half := placement.Needs{CPUMilli: 500, MemoryMiB: 10}
	if _, err := f.Reserve(placement.Demand{Needs: half}); !errors.Is(err, fault.Exhausted) {
		t.Fatalf("an empty fleet: %v", err)
	}
	w := fleet.Worker{ID: "wk-1", Capacity: placement.Needs{CPUMilli: 1000, MemoryMiB: 100}}
	if err := f.Join(w); err != nil {
		t.Fatal(err)
	}
	if err := f.Join(w); !errors.Is(err, fault.Exists) {
		t.Errorf("joined twice: %v", err)
	}
	first, err := f.Reserve(placement.Demand{Needs: half})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Reserve(placement.Demand{Needs: half}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Reserve(placement.Demand{Needs: half}); !errors.Is(err, fault.Exhausted) {
		t.Errorf("a full fleet: %v", err)
	}
	first.Release()
	first.Release() // counts once
	if got := f.Snapshot()[0].Reserved; got != half {
		t.Errorf("reserved %+v, want %+v", got, half)
	}
	f.Leave("wk-1")
	f.Leave("wk-1")
	if n := len(f.Workers()); n != 0 {
		t.Errorf("%d workers left", n)
	}
}
