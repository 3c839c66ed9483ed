package main

import (
	"fmt"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

// maxAhead is how many items go beyond those that the client has seen.
const maxAhead = 1000

// generating is one input of a generator, which yields numbers from 0.
type generating struct {
	callID string
	total  int
	sent   int
	seen   int
	result *skerryv1.Result
}

// generate begins, or after a break goes on with, the inputs of a generator. Called with the state locked.
func (s *session) generate(submit *skerryv1.Submit, b *behaviour) {
	result := b.result
	if result == nil {
		result = &skerryv1.Result{Status: skerryv1.ResultStatus_RESULT_STATUS_SUCCESS, ItemsTotal: uint64(*b.items)} //nolint:gosec // small
	}
	s.generators[submit.GetCallId()] = &generating{callID: submit.GetCallId(), total: *b.items, result: result}
}

// see takes how far the client has come. Called with the state locked.
func (s *session) see(seen *skerryv1.ItemsSeen) {
	if g := s.generators[seen.GetCallId()]; g != nil {
		g.seen = max(g.seen, int(seen.GetCount())) //nolint:gosec // small
		g.sent = max(g.sent, g.seen)
	}
}

// pump sends the items that there is room for, and the end. Called with the state locked.
func (s *session) pump() {
	for id, g := range s.generators {
		items := &skerryv1.Items{CallId: id, First: uint64(g.sent + 1)} //nolint:gosec // small
		for ; g.sent < min(g.total, g.seen+maxAhead); g.sent++ {
			pickled := fmt.Appendf(nil, "I%d\n.", g.sent)
			items.Values = append(items.Values, &skerryv1.Payload{
				Format: skerryv1.PayloadFormat_PAYLOAD_FORMAT_PICKLE, Content: &skerryv1.Payload_Inline{Inline: pickled},
			})
		}
		s.state.report.ItemsSent = max(s.state.report.ItemsSent, g.sent)
		s.add(func(r *skerryv1.SessionResponse) {
			if len(items.GetValues()) > 0 {
				r.Items = append(r.Items, items)
			}
			if g.sent == g.total {
				r.Outputs = append(r.Outputs, &skerryv1.Output{CallId: id, Result: g.result})
			}
		})
		if g.sent == g.total {
			delete(s.generators, id)
		}
	}
}
