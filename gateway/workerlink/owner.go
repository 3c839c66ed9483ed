package workerlink

import (
	"sync"
	"time"

	"github.com/skerry-dev/skerry/gateway/task"
)

// Owners says whose containers are. Implemented by Hub.
type Owners interface {
	// OwnerOf returns the id of the token with which the worker of a container has joined, for containers that run or ended in the last
	// minutes. Errors: fault.NotFound for others, fault.Unavailable where that is not known yet, for who asks is quicker than its worker's link.
	OwnerOf(containerID string) (tokenID string, err error)
}

// owners are the tokens of the workers that run containers, and of those that ran them as long as gateway/task can say whose they were:
// what they wrote may come late, and when the link is gone.
type owners struct {
	mu     sync.Mutex
	tokens map[string]string // by container
	past   []departed        // in order of ending
}

type departed struct {
	containerID string
	at          time.Time
}

func newOwners() *owners { return &owners{tokens: map[string]string{}} }

func (o *owners) began(containerID, token string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tokens[containerID] = token
}

func (o *owners) ended(containerID string) {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for n < len(o.past) && now.Sub(o.past[n].at) > task.IdentityKept {
		delete(o.tokens, o.past[n].containerID)
		n++
	}
	o.past = append(o.past[n:], departed{containerID, now})
}

func (o *owners) of(containerID string) (token string, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	token, known = o.tokens[containerID]
	return token, known
}
