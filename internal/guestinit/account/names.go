package account

import (
	"os"
	"strconv"
	"sync"
	"time"
)

// Names tells the names of users and groups by their numbers. It reads the files again when they have changed. It is safe for concurrent use.
type Names struct {
	mu            sync.Mutex
	users, groups database
}

// User is a user's name, or the number where it has none.
func (n *Names) User(uid uint32) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.users.name(passwdFile, uid)
}

// Group is a group's name, or the number where it has none.
func (n *Names) Group(gid uint32) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.groups.name(groupFile, gid)
}

type database struct {
	names map[uint32]string
	mtime time.Time
	size  int64
}

func (d *database) name(path string, id uint32) string {
	if st, err := os.Stat(path); err == nil && (!st.ModTime().Equal(d.mtime) || st.Size() != d.size) {
		names := map[uint32]string{}
		// A file that can't be read has no names.
		_ = records(path, 3, func(f []string) bool {
			if n, ok := parseID(f[2]); ok && names[n] == "" {
				names[n] = f[0]
			}
			return len(names) < 1<<16
		})
		*d = database{names: names, mtime: st.ModTime(), size: st.Size()}
	}
	if name := d.names[id]; name != "" {
		return name
	}
	return strconv.FormatUint(uint64(id), 10)
}
