package gvisor

import "context"

// Halt is what a process does that then crashes.
func (s *Sandbox) Halt(ctx context.Context) error { return s.halt(ctx) }
