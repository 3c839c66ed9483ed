package volume

import (
	"container/list"
	"sync"
)

// recentRoom is how many bytes of packs and manifests are kept in memory: readers of many small files come for the same pack again and again.
const recentRoom = 64 << 20

// recent keeps what was read lately, by digest. It is safe for concurrent use.
type recent struct {
	mu    sync.Mutex
	room  int
	used  int
	known map[string]*list.Element // of *kept
	order *list.List               // the least recently used last
}

type kept struct {
	digest string
	value  any
	size   int
}

func newRecent(room int) *recent {
	return &recent{room: room, known: map[string]*list.Element{}, order: list.New()}
}

// get returns what is kept, which is not to be changed, or nil.
func (r *recent) get(digest string) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.known[digest]
	if e == nil {
		return nil
	}
	r.order.MoveToFront(e)
	return e.Value.(*kept).value
}

func (r *recent) put(digest string, value any, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[digest] != nil || size > r.room {
		return
	}
	r.known[digest] = r.order.PushFront(&kept{digest, value, size})
	for r.used += size; r.used > r.room; {
		last := r.order.Remove(r.order.Back()).(*kept)
		delete(r.known, last.digest)
		r.used -= last.size
	}
}
