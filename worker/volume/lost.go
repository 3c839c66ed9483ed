package volume

import (
	"errors"
	"slices"
)

// Gone is closed when the volumes of a container are lost, or the container has none.
func (h *Host) Gone(containerID string) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, has := h.containers[containerID]; has && h.link != nil {
		return h.link.ended // it has what all have that are known
	}
	gone := make(chan struct{})
	close(gone)
	return gone
}

// gone hears that the process has ended, with all that was not committed.
func (h *Host) gone(l *link) {
	h.mu.Lock()
	if h.link == l {
		h.link, h.died = nil, true
	}
	closing := h.closing
	cause := errors.New("the process that served its volumes has died; what was written since the last commit is lost")
	var lost []string
	if !closing {
		for id := range h.containers {
			lost = append(lost, id)
			h.lost[id] = cause
		}
		h.containers = map[string][]mounted{}
	}
	for id, c := range h.commits {
		c.Abort()
		delete(h.commits, id)
	}
	h.mu.Unlock()
	if len(lost) == 0 {
		return
	}
	slices.Sort(lost)
	h.log.Error("volumes are lost with their process", "containers", lost, "log", h.cfg.LogFile)
	if h.cfg.Lost != nil {
		h.cfg.Lost(lost, cause)
	}
}
