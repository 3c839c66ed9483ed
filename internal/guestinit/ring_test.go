package guestinit

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// at reads from an offset on.
func at(r *ring, offset uint64, limit int) chunk {
	f := r.follow(offset)
	defer f.close()
	return f.next(limit)
}

func TestRingKeepsTheLastBytes(t *testing.T) {
	const limit = 10_000 // not a power of two times the first size
	rnd := rand.New(rand.NewPCG(1, 2))
	r := newRing(limit)
	var all []byte
	for range 500 {
		p := make([]byte, rnd.IntN(limit/4))
		if rnd.IntN(50) == 0 {
			p = make([]byte, 2*limit+rnd.IntN(100))
		}
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		if n, err := r.Write(p); n != len(p) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
		all = append(all, p...)
		offset := uint64(rnd.IntN(len(all) + 1))
		c := at(r, offset, limit/2)
		want := all[min(offset+c.dropped, uint64(len(all))):][:len(c.data)]
		if !bytes.Equal(c.data, want) || c.next != offset+c.dropped+uint64(len(c.data)) {
			t.Fatalf("read at %d of %d: wrong bytes", offset, len(all))
		}
		if oldest := uint64(max(0, len(all)-limit)); offset+c.dropped < oldest || c.dropped > 0 && offset+c.dropped != oldest {
			t.Fatalf("read at %d: dropped %d, the oldest byte kept is %d", offset, c.dropped, oldest)
		}
	}
}

func TestRingFollow(t *testing.T) {
	r := newRing(100)
	if c := at(r, 1, 10); !c.beyond {
		t.Error("an offset beyond the end is not refused")
	}
	c := at(r, 0, 10)
	if c.changed == nil || c.eof {
		t.Fatalf("empty ring: %+v", c)
	}
	go func() { _, _ = r.Write([]byte("abc")) }()
	<-c.changed
	if c = at(r, 0, 10); string(c.data) != "abc" || c.eof {
		t.Fatalf("after write: %+v", c)
	}
	c = at(r, 3, 10)
	go r.Close()
	<-c.changed
	if c = at(r, 3, 10); !c.eof {
		t.Fatalf("after close: %+v", c)
	}
	if c = at(r, 0, 10); string(c.data) != "abc" || !c.eof {
		t.Fatalf("the rest after close: %+v", c)
	}
}

func TestRingWaitsForWhoFollows(t *testing.T) {
	const total = 50_000
	r := newRing(100)
	f := r.follow(0)
	defer f.close()
	go func() {
		p := make([]byte, 333)
		for i := 0; i < total; {
			n := min(len(p), total-i)
			for k := range n {
				p[k] = byte(i + k)
			}
			_, _ = r.Write(p[:n])
			i += n
		}
		r.Close()
	}()
	var got int
	for {
		c := f.next(64)
		if c.dropped > 0 {
			t.Fatalf("%d bytes dropped at %d", c.dropped, got)
		}
		for _, b := range c.data {
			if b != byte(got) {
				t.Fatalf("byte %d is wrong", got)
			}
			got++
		}
		if c.eof {
			break
		}
		if c.changed != nil {
			<-c.changed
		}
	}
	if got != total {
		t.Fatalf("got %d bytes of %d", got, total)
	}
}

func TestRingWaitsNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(100)
		f := r.follow(0)
		began := time.Now()
		_, _ = r.Write(make([]byte, 250))
		if waited := time.Since(began); waited != ringPatience {
			t.Errorf("waited %s", waited)
		}
		if c := f.next(1000); c.dropped != 150 || len(c.data) != 100 {
			t.Errorf("dropped %d, read %d", c.dropped, len(c.data))
		}
		wrote := make(chan struct{})
		go func() {
			_, _ = r.Write(make([]byte, 150))
			close(wrote)
		}()
		synctest.Wait()
		f.next(60)
		<-wrote
		// Nobody waits for a follower that goes, nor for what is left of a process.
		go func() { synctest.Wait(); f.close() }()
		_, _ = r.Write(make([]byte, 500))
		f = r.follow(r.end)
		defer f.close()
		r.rest()
		_, _ = r.Write(make([]byte, ringRest))
		if c := f.next(2 * ringRest); c.dropped != 0 || len(c.data) != ringRest {
			t.Errorf("dropped %d, read %d of the rest", c.dropped, len(c.data))
		}
	})
}

// TestRingRestWhileSomebodyWrites ends a process whose writer waits for a reader that is behind.
func TestRingRestWhileSomebodyWrites(t *testing.T) {
	r := newRing(100)
	f := r.follow(0)
	defer f.close()
	wrote := make(chan struct{})
	go func() {
		_, _ = r.Write(make([]byte, 1000))
		close(wrote)
	}()
	if c := f.next(1); c.changed != nil {
		<-c.changed
	}
	r.rest()
	<-wrote
}

// TestOutputThatWasReadIsForgotten has many processes end that have written much.
func TestOutputThatWasReadIsForgotten(t *testing.T) {
	table := newTable()
	for i := range maxEnded {
		p := &process{id: string(rune('a' + i)), stdout: newRing(ringLimit), stderr: newRing(ringLimit)}
		_, _ = p.stdout.Write(make([]byte, ringLimit))
		p.stdout.Close()
		if i%2 == 0 { // the others are still to be read
			for f := p.stdout.follow(0); ; {
				if c := f.next(ringLimit / 3); c.eof {
					f.close()
					break
				}
			}
		}
		table.byID[p.id] = p
		table.ended = append(table.ended, p.id)
	}
	table.trim()
	kept := 0
	for i, id := range table.ended {
		r := table.byID[id].stdout
		if r.size() > 0 {
			kept++
		} else if i%2 == 1 || i > maxEnded-maxSpent/ringLimit {
			t.Errorf("process %d of %d was forgotten", i, maxEnded)
		}
		if c := at(r, 0, 10); i%2 == 0 && r.size() == 0 && (c.dropped != ringLimit || !c.eof) {
			t.Errorf("what was forgotten reads as %+v", c)
		}
	}
	if most := maxEnded/2 + maxSpent/ringLimit; kept > most {
		t.Errorf("the output of %d processes is kept, want at most %d", kept, most)
	}
}
