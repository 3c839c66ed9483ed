package buildlink

import (
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

// LateVolumes is how long after a build its builder may still commit what the build's steps have written.
const LateVolumes = 10 * time.Minute

// use is what a build may do with volumes.
type use struct {
	token   string          // of the builder
	volumes map[string]bool // by id, whether it may write
	ended   time.Time       // zero while it goes on
}

// opens lets a builder use the volumes of a recipe that it builds, until the function that it returns has been called and LateVolumes are over.
func (h *Hub) opens(b *builder, r *skerryv1.Recipe) (ends func()) {
	u := &use{token: b.token, volumes: map[string]bool{}}
	for _, s := range r.GetSteps() {
		for _, v := range s.GetVolumes() {
			u.volumes[v.GetVolumeId()] = u.volumes[v.GetVolumeId()] || !v.GetReadOnly()
		}
	}
	if len(u.volumes) == 0 {
		return func() {}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for old := range h.uses {
		if old.over(time.Now()) {
			delete(h.uses, old)
		}
	}
	h.uses[u] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		u.ended = time.Now()
	}
}

func (u *use) over(now time.Time) bool { return !u.ended.IsZero() && now.Sub(u.ended) > LateVolumes }

// MayUse implements volumelink.Builds. A gateway that has started anew knows of no build before: what their steps had not committed is of no
// image, and the steps run again.
func (h *Hub) MayUse(tokenID, volumeID string, write bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for u := range h.uses {
		writes, named := u.volumes[volumeID]
		if u.token == tokenID && named && (writes || !write) && !u.over(time.Now()) {
			return nil
		}
	}
	return fault.New(fault.NotFound, "volume %q: is not of a recipe that this builder builds", volumeID)
}
