package main

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"

	"google.golang.org/protobuf/proto"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

// orders is what a test can ask for; what is left out stays as it is.
type orders struct {
	Function   string  `json:"function"`    // the function the next ones are about, "fu-..."
	Result     []byte  `json:"result"`      // give this encoded Result for every input
	Refuse     *refuse `json:"refuse"`      // refuse its calls
	Hold       *bool   `json:"hold"`        // keep outputs back until false
	Reverse    *bool   `json:"reverse"`     // answer the inputs of a frame last first
	Items      *int    `json:"items"`       // be a generator that yields so many numbers
	Unrecorded *bool   `json:"unrecorded"`  // accept no spawned calls
	HoldIndex  *uint32 `json:"hold_index"`  // keep back the output of this input alone, until hold is false
	BreakAfter *int    `json:"break_after"` // break the session once it has sent so many outputs
	BreakNow   bool    `json:"break_now"`   // break all sessions
	Log        *entry  `json:"log"`         // a line of output
	Expire     string  `json:"expire"`      // a call whose outputs are gone

	End         *ending `json:"end"`          // have a sandbox end
	Ready       string  `json:"ready"`        // have a sandbox be ready
	LoseImage   string  `json:"lose_image"`   // have an image be unknown to the next sandbox of it
	BreakInside *int64  `json:"break_inside"` // break a response from inside a sandbox off after so many pieces
	Away        *int64  `json:"away"`         // refuse so many requests to the inside of sandboxes: it can't be reached
}

type refuse struct {
	Code    uint32 `json:"code"`
	Message string `json:"message"`
}

type ending struct {
	Sandbox string `json:"sandbox"`
	Reason  int32  `json:"reason"`
	Code    int32  `json:"code"`
}

type entry struct {
	App, Function, Text, Source string
}

// report is what has happened.
type report struct {
	Inputs      int                 `json:"inputs"`       // inputs received, those sent again as well
	Resumed     int                 `json:"resumed"`      // of these, how many were marked as sent again
	Frames      int                 `json:"frames"`       // requests received
	MostOpen    int                 `json:"most_open"`    // most inputs without an output at a time
	Sessions    int                 `json:"sessions"`     // sessions opened
	Released    []string            `json:"released"`     // calls released
	Cancelled   []string            `json:"cancelled"`    // calls cancelled
	Uploads     int                 `json:"uploads"`      // blobs uploaded
	Heartbeats  int                 `json:"heartbeats"`   // heartbeats heard
	Stopped     map[string]int32    `json:"stopped"`      // reasons by app
	Published   map[string]string   `json:"published"`    // encoded PublishAppRequests by app, in hex
	Recipes     []string            `json:"recipes"`      // encoded Recipes asked for, in hex
	Secrets     []map[string]string `json:"secrets"`      // variables of secrets
	Bound       []string            `json:"bound"`        // encoded BindFunctionRequests, in hex
	ParentInput string              `json:"parent_input"` // of the last Submit
	ItemsSent   int                 `json:"items_sent"`   // most items of a generator sent
	Spawned     int                 `json:"spawned"`      // calls spawned
	LogRequests []string            `json:"log_requests"` // encoded StreamLogsRequests, in hex
	Sandboxes   []string            `json:"sandboxes"`    // encoded CreateSandboxRequests, in hex
	Sealed      int                 `json:"sealed"`       // environments sealed
	Inside      int64               `json:"inside"`       // requests to the inside of sandboxes
}

type behaviour struct {
	result  *skerryv1.Result
	refuse  *refuse
	hold    bool
	reverse bool
	items   *int

	holdAccepts bool
	holdIndex   *uint32
}

type state struct {
	mu         sync.Mutex
	changed    *sync.Cond
	report     report
	behaviours map[string]*behaviour
	breakAfter int // outputs until a break; -1: none
	blobs      map[string][]byte
	spawned    map[string]*spawned
	sessions   map[*session]struct{}
	entries    []*skerryv1.LogEntry
	logApps    []string
	apps       int
	open       int
	names      map[string]string // ids of images
	sandboxes  []*sandbox
	lostImages map[string]bool
	inside     *inside
}

type spawned struct {
	inputs  int
	outputs []*skerryv1.Output
	held    bool
	expired bool
}

func newState() *state {
	s := &state{
		behaviours: map[string]*behaviour{}, breakAfter: -1, blobs: map[string][]byte{}, spawned: map[string]*spawned{},
		sessions: map[*session]struct{}{}, names: map[string]string{}, lostImages: map[string]bool{}, inside: newInside(),
		report: report{Stopped: map[string]int32{}, Published: map[string]string{}},
	}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func (s *state) behaviour(function string) *behaviour {
	b := s.behaviours[function]
	if b == nil {
		b = &behaviour{}
		s.behaviours[function] = b
	}
	return b
}

func (s *state) obey(o *orders) report {
	if o.End != nil {
		s.end(o.End.Sandbox, skerryv1.SandboxEndReason(o.End.Reason), o.End.Code)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.obeyOfSandboxes(o)
	b := s.behaviour(o.Function)
	if o.Result != nil {
		b.result = &skerryv1.Result{}
		if err := proto.Unmarshal(o.Result, b.result); err != nil {
			panic(err)
		}
	}
	if o.Refuse != nil {
		b.refuse = o.Refuse
	}
	if o.Hold != nil {
		b.hold, b.holdIndex = *o.Hold, nil
		s.flush()
	}
	if o.Items != nil {
		b.items = o.Items
	}
	if o.HoldIndex != nil {
		b.holdIndex = o.HoldIndex
	}
	if o.Unrecorded != nil {
		b.holdAccepts = *o.Unrecorded
	}
	if o.Reverse != nil {
		b.reverse = *o.Reverse
	}
	if o.BreakAfter != nil {
		s.breakAfter = *o.BreakAfter
	}
	if o.Log != nil {
		s.log(o.Log)
	}
	if o.Expire != "" {
		s.spawned[o.Expire] = &spawned{inputs: 1, expired: true}
	}
	if o.BreakNow {
		for session := range s.sessions {
			session.breakOff()
		}
	}
	s.changed.Broadcast()
	return s.report
}

func (s *state) obeyOfSandboxes(o *orders) {
	for _, each := range s.sandboxes {
		if each.info.GetSandboxId() == o.Ready {
			each.info.Ready = true
		}
	}
	if o.LoseImage != "" {
		s.lostImages[o.LoseImage] = true
	}
	if o.BreakInside != nil {
		s.inside.breakAfter.Store(*o.BreakInside)
	}
	if o.Away != nil {
		s.inside.refuse.Store(*o.Away)
	}
	s.report.Inside = s.inside.requests.Load()
}

func (s *state) log(e *entry) {
	source := map[string]skerryv1.LogSource{
		"stdout": skerryv1.LogSource_LOG_SOURCE_STDOUT, "stderr": skerryv1.LogSource_LOG_SOURCE_STDERR,
	}[e.Source]
	s.entries = append(s.entries, &skerryv1.LogEntry{Time: now(), Text: e.Text, FunctionName: e.Function, Source: source})
	s.logApps = append(s.logApps, e.App)
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
