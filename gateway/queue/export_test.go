package queue

import "context"

// Getters and Putters are how many wait in the default partition.
func Getters(s *Service, id string) (n int) { return waiters(s, id, true) }

func Putters(s *Service, id string) (n int) { return waiters(s, id, false) }

func waiters(s *Service, id string, getters bool) (n int) {
	q, err := s.open(context.Background(), id)
	if err != nil {
		return -1
	}
	q.mu.Lock()
	p := q.parts[""]
	q.mu.Unlock()
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if getters {
		return p.getters.Len()
	}
	return p.putters.Len()
}

// Asking is how many attempts of a request that has taken something of the default partition are to be answered.
func Asking(s *Service, id, request string) int {
	q, err := s.open(context.Background(), id)
	if err != nil {
		return -1
	}
	q.mu.Lock()
	p := q.parts[""]
	q.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.takes[request]; t != nil {
		return t.asking
	}
	return 0
}
