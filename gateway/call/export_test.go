package call

// Retained counts what a Service keeps.
type Retained struct {
	Calls, Hand, Cancelled, Doubtful, Recorded, Retrying, Traced, Generators int
}

// Retained counts what the Service keeps.
func (s *Service) Retained() Retained {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := Retained{
		Calls: len(s.calls), Hand: len(s.hand), Cancelled: len(s.cancelled), Doubtful: len(s.doubtful), Recorded: len(s.recorded),
		Retrying: len(s.retrying), Traced: s.traces.Len(),
	}
	for _, c := range s.calls {
		n.Generators += len(c.generators)
	}
	return n
}

// Subscriptions counts the functions whose inputs are delivered.
func (s *Service) Subscriptions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.subs)
}

// Queued counts the outputs that wait for Next.
func (x *Session) Queued() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.out.Outputs)
}
