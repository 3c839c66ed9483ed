package output

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// newStream returns a stream that keeps so many bytes in memory and none on a disk.
func newStream(limit int) *Stream {
	s := NewStore(Config{}).NewStream()
	s.limit = limit
	return s
}

// at reads from an offset on.
func at(r *Stream, offset uint64, limit int) Chunk {
	f := r.Follow(offset)
	defer f.Close()
	return f.Next(limit)
}

func TestStreamKeepsTheLastBytes(t *testing.T) {
	const limit = 10_000 // not a power of two times the first size
	rnd := rand.New(rand.NewPCG(1, 2))
	r := newStream(limit)
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
		want := all[min(offset+c.Dropped, uint64(len(all))):][:len(c.Data)]
		if !bytes.Equal(c.Data, want) || c.Next != offset+c.Dropped+uint64(len(c.Data)) {
			t.Fatalf("read at %d of %d: wrong bytes", offset, len(all))
		}
		if oldest := uint64(max(0, len(all)-limit)); offset+c.Dropped < oldest || c.Dropped > 0 && offset+c.Dropped != oldest {
			t.Fatalf("read at %d: dropped %d, the oldest byte kept is %d", offset, c.Dropped, oldest)
		}
	}
}

func TestStreamFollow(t *testing.T) {
	r := newStream(100)
	if c := at(r, 1, 10); !c.Beyond {
		t.Error("an offset beyond the end is not refused")
	}
	c := at(r, 0, 10)
	if c.Changed == nil || c.EOF {
		t.Fatalf("empty ring: %+v", c)
	}
	go func() { _, _ = r.Write([]byte("abc")) }()
	<-c.Changed
	if c = at(r, 0, 10); string(c.Data) != "abc" || c.EOF {
		t.Fatalf("after write: %+v", c)
	}
	c = at(r, 3, 10)
	go r.Close()
	<-c.Changed
	if c = at(r, 3, 10); !c.EOF {
		t.Fatalf("after close: %+v", c)
	}
	if c = at(r, 0, 10); string(c.Data) != "abc" || !c.EOF {
		t.Fatalf("the rest after close: %+v", c)
	}
}

func TestStreamWaitsForWhoFollows(t *testing.T) {
	const total = 50_000
	r := newStream(100)
	f := r.Follow(0)
	defer f.Close()
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
		c := f.Next(64)
		if c.Dropped > 0 {
			t.Fatalf("%d bytes dropped at %d", c.Dropped, got)
		}
		for _, b := range c.Data {
			if b != byte(got) {
				t.Fatalf("byte %d is wrong", got)
			}
			got++
		}
		if c.EOF {
			break
		}
		if c.Changed != nil {
			<-c.Changed
		}
	}
	if got != total {
		t.Fatalf("got %d bytes of %d", got, total)
	}
}

func TestStreamWaitsNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStream(100)
		f := r.Follow(0)
		began := time.Now()
		_, _ = r.Write(make([]byte, 250))
		if waited := time.Since(began); waited != Patience {
			t.Errorf("waited %s", waited)
		}
		if c := f.Next(1000); c.Dropped != 150 || len(c.Data) != 100 {
			t.Errorf("dropped %d, read %d", c.Dropped, len(c.Data))
		}
		wrote := make(chan struct{})
		go func() {
			_, _ = r.Write(make([]byte, 150))
			close(wrote)
		}()
		synctest.Wait()
		f.Next(60)
		<-wrote
		// Nobody waits for a follower that goes, nor for what is left of a process.
		go func() { synctest.Wait(); f.Close() }()
		_, _ = r.Write(make([]byte, 500))
		f = r.Follow(r.end)
		defer f.Close()
		r.Rest()
		_, _ = r.Write(make([]byte, Rest))
		if c := f.Next(2 * Rest); c.Dropped != 0 || len(c.Data) != Rest {
			t.Errorf("dropped %d, read %d of the rest", c.Dropped, len(c.Data))
		}
	})
}

// TestStreamRestWhileSomebodyWrites ends a process whose writer waits for a reader that is behind.
func TestStreamRestWhileSomebodyWrites(t *testing.T) {
	r := newStream(100)
	f := r.Follow(0)
	defer f.Close()
	wrote := make(chan struct{})
	go func() {
		_, _ = r.Write(make([]byte, 1000))
		close(wrote)
	}()
	if c := f.Next(1); c.Changed != nil {
		<-c.Changed
	}
	r.Rest()
	<-wrote
}

// TestStreamSpills writes more than memory holds with nobody reading, and reads it all from the start.
func TestStreamSpills(t *testing.T) {
	store := NewStore(Config{Dir: t.TempDir()})
	r := store.NewStream()
	r.limit = 10_000
	const total = 5<<20 + 12_345
	rnd := rand.New(rand.NewPCG(3, 4))
	want := make([]byte, total)
	for i := range want {
		want[i] = byte(rnd.Uint32())
	}
	for p := want; len(p) > 0; {
		n := min(len(p), 1+rnd.IntN(40_000))
		_, _ = r.Write(p[:n])
		p = p[n:]
	}
	r.Close()
	if rnd.IntN(2) == 0 {
		r.Park()
	}
	f := r.Follow(0)
	var got []byte
	for {
		c := f.Next(100_000)
		if c.Dropped > 0 {
			t.Fatalf("%d bytes dropped at %d", c.Dropped, len(got))
		}
		got = append(got, c.Data...)
		if c.EOF {
			break
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes read of %d, or others", len(got), total)
	}
	r.Abandon()
	if store.spilled == 0 {
		t.Error("it is given back while it is read")
	}
	f.Close()
	if store.spilled != 0 || store.memory != 0 {
		t.Errorf("%d bytes of disk and %d of memory are not given back", store.spilled, store.memory)
	}
}

// TestSpillIsBounded: what a disk has no room for is a gap before the newest bytes.
func TestSpillIsBounded(t *testing.T) {
	store := NewStore(Config{Dir: t.TempDir()})
	store.maxSpill = 3 * segment
	r := store.NewStream()
	r.limit = 1000
	p := make([]byte, segment)
	for i := range 10 {
		p[0] = byte(i)
		_, _ = r.Write(p)
	}
	c := at(r, 0, 10)
	kept := r.End() - c.Offset()
	if kept < 2*segment || kept > 3*segment+1000 || c.Dropped != c.Offset() {
		t.Errorf("%d bytes are kept", kept)
	}
	if c := at(r, 9*segment, 1); c.Dropped != 0 || c.Data[0] != 9 {
		t.Errorf("the newest segment reads as %+v", c)
	}
	// Without any room the rest is memory.
	store.maxSpill = 1
	q := store.NewStream()
	q.limit = 1000
	_, _ = q.Write(p)
	if c := at(q, 0, 2000); len(c.Data) != 1000 {
		t.Errorf("%d bytes are kept in memory", len(c.Data))
	}
}

// TestMemoryIsBounded has more streams than may each have their full share.
func TestMemoryIsBounded(t *testing.T) {
	store := NewStore(Config{Dir: t.TempDir()})
	p := make([]byte, 2<<20)
	for range MaxMemory/Limit + 20 {
		r := store.NewStream()
		_, _ = r.Write(p)
		if c := at(r, 0, 1); c.Dropped > 0 {
			t.Fatalf("%d bytes dropped", c.Dropped)
		}
	}
	if store.memory > MaxMemory+20*minMemory {
		t.Errorf("%d bytes of memory", store.memory)
	}
}
