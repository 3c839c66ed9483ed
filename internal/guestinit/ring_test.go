package guestinit

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

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
		c := r.read(offset, limit/2)
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
	if c := r.read(1, 10); !c.beyond {
		t.Error("an offset beyond the end is not refused")
	}
	c := r.read(0, 10)
	if c.changed == nil || c.eof {
		t.Fatalf("empty ring: %+v", c)
	}
	go func() { _, _ = r.Write([]byte("abc")) }()
	<-c.changed
	if c = r.read(0, 10); string(c.data) != "abc" || c.eof {
		t.Fatalf("after write: %+v", c)
	}
	c = r.read(3, 10)
	go r.Close()
	<-c.changed
	if c = r.read(3, 10); !c.eof {
		t.Fatalf("after close: %+v", c)
	}
	if c = r.read(0, 10); string(c.data) != "abc" || !c.eof {
		t.Fatalf("the rest after close: %+v", c)
	}
}
