package dict

import (
	"hash/fnv"
	"sync"
)

// poppers is how many removals of a dict may go on at once.
const poppers = 16

// state is what memory has of a dict that is in use: its locks.
type state struct {
	users int // guarded by states.mu

	// entries is held for reading by who works with single entries, and for writing by who changes many: nobody sees half of that.
	entries sync.RWMutex
	// pops is held by who removes a key, which takes several steps.
	pops [poppers]sync.Mutex

	unfinished []Intent // guarded by entries
	counted    bool     // guarded by count
	count      sync.Mutex
	most       uint64 // an upper bound of the number of entries; guarded by count
}

// states are the dicts in use, and those that have something to finish.
type states struct {
	mu sync.Mutex
	m  map[string]*state
}

// use returns the state of a dict until it is left.
func (s *states) use(id string) *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.m[id]
	if st == nil {
		st = &state{}
		s.m[id] = st
	}
	st.users++
	return st
}

// maxIdle bounds the states that are kept although nobody uses them, for what they have counted.
const maxIdle = 4096

func (s *states) leave(id string, st *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.users--
	if st.users == 0 && len(s.m) > maxIdle && len(st.unfinished) == 0 && s.m[id] == st {
		delete(s.m, id)
	}
}

func (s *states) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, id)
}

func (st *state) popper(slot Slot) *sync.Mutex {
	h := fnv.New32a()
	_, _ = h.Write([]byte(slot)) // never fails
	return &st.pops[h.Sum32()%poppers]
}
