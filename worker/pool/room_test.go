package pool

import (
	"errors"
	"log/slog"
	"testing"
	"time"
)

// TestRoom says how many boxes of 20 MiB may wait on a worker that offers 2000: up to 100 MiB free they are kept, up to 200 they are made.
func TestRoom(t *testing.T) {
	for _, c := range []struct {
		name                     string
		used, available, holding int
		keep, make               int
	}{
		{"nothing runs", 0, 5000, 0, 95, 90},
		{"what waits counts as free", 200, 5000, 10, 95, 90},
		{"half is used", 1000, 5000, 0, 45, 40},
		{"the host has less", 0, 1000, 0, 45, 40},
		{"just enough to make one", 1780, 5000, 0, 6, 1},
		{"enough to keep, not to make", 1850, 5000, 3, 5, 0},
		{"just enough to keep all", 1900, 5000, 3, 3, 0},
		{"short of a part of one", 1901, 5000, 3, 2, 0},
		{"short of two and a part", 1950, 5000, 3, 0, 0},
		{"short of more than there are", 2000, 5000, 3, 0, 0},
		{"more is used than offered", 2100, 5000, 10, 0, 0},
		{"the host has none", 200, 0, 10, 5, 0},
	} {
		keep, grow := Memory{Offered: 2000, Used: c.used, Available: c.available}.room(20, c.holding)
		if keep != c.keep || grow != c.make {
			t.Errorf("%s: keep %d, make %d, want %d and %d", c.name, keep, grow, c.keep, c.make)
		}
	}
}

// TestGauge bounds what memory has room for by what there may be at most, and looks again only after a time.
func TestGauge(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	memory, reads := Memory{Offered: 2000, Available: 5000}, 0
	var failing error
	g := gauge{size: 20, most: 10, log: slog.New(slog.DiscardHandler), read: func() (Memory, error) {
		reads++
		return memory, failing
	}}
	step := func(name string, holding, keep, grow, read int) {
		t.Helper()
		if k, m := g.room(now, holding); k != keep || m != grow || reads != read {
			t.Errorf("%s: keep %d, make %d, read %d times, want %d, %d and %d", name, k, m, reads, keep, grow, read)
		}
	}
	step("there is room", 0, 10, 10, 1)
	memory.Used = 1950
	step("it is looked at no more", 10, 10, 10, 1)
	now = now.Add(fresh)
	step("it is short", 10, 7, 2, 2)
	now, failing = now.Add(fresh), errors.New("it can't be read")
	step("it is not known", 7, 10, 7, 3)
	now = now.Add(fresh)
	step("nor asked for at once", 6, 10, 6, 3)
	now, failing = now.Add(retry), nil
	step("it is known again", 6, 3, 0, 4)
	g.read = nil
	step("nothing but the number bounds them", 6, 10, 10, 4)
}
