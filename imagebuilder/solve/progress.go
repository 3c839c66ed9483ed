package solve

import (
	"bytes"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/client"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/llb"
	"github.com/skerry-dev/skerry/imagebuilder/runtime"
)

// progress turns BuildKit's news of vertices into a build's of steps. BuildKit may begin and end one vertex several times, such as a
// base that it looks up, fetches and unpacks: a step's end is told when another begins or the solve ends.
type progress struct {
	plan   *llb.Plan
	events build.Events
	mark   string // of verdicts

	mu     sync.Mutex // the export begins on a goroutine of its own
	steps  []stepProgress
	failed int  // the step that failed, from 1
	over   bool // nobody listens any more

	awaited string        // whose success is waited for
	watched chan struct{} // closed at that
}

type stepProgress struct {
	told       build.State // last told; 0: nothing
	ended      build.State // not told yet; 0: it runs, or was told
	from, to   *time.Time
	partial    [3][]byte // output without an end of line, by stream
	last       []string
	verdict    string // of the runtime on the step's end
	exportFrom time.Time
}

func newProgress(events build.Events, mark string) *progress {
	return &progress{plan: &llb.Plan{}, events: events, mark: mark, steps: make([]stepProgress, 1)}
}

// watch has watched closed when a vertex has succeeded.
func (p *progress) watch(digest string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.awaited, p.watched = digest, make(chan struct{})
}

// ran says whether a step of the recipe was carried out, not found in a cache. A base is looked up whatever is known of it.
func (p *progress) ran() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, s := range p.plan.Steps {
		if p.steps[i].told == build.Done && (s.RecipeStep > 0 || s.Command != "") {
			return true
		}
	}
	return false
}

// begin says what is solved. What BuildKit told before, while Dockerfiles were read, is of no step.
func (p *progress) begin(plan *llb.Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan, p.steps = plan, make([]stepProgress, len(plan.Steps)+1)
}

// vertexStep is the step that a vertex belongs to; 0: none.
func (p *progress) vertexStep(digest string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan.Vertices[digest]
}

func (p *progress) tell(n int, s build.State, elapsed time.Duration) {
	p.steps[n-1].told = s
	name, recipeStep := exportName, 0
	if n <= len(p.plan.Steps) {
		name, recipeStep = p.plan.Steps[n-1].Name, p.plan.Steps[n-1].RecipeStep
	}
	p.events.Step(build.Step{Number: n, Total: len(p.steps), Name: name, State: s, Elapsed: elapsed, RecipeStep: recipeStep})
}

func (p *progress) status(s *client.SolveStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	for _, v := range s.Vertexes {
		if p.awaited == v.Digest.String() && v.Completed != nil && v.Error == "" {
			p.awaited = ""
			defer close(p.watched)
		}
		if n := p.plan.Vertices[v.Digest.String()]; n > 0 && v.Started != nil {
			p.vertex(n, v)
		}
	}
	for _, l := range s.Logs {
		if n := p.plan.Vertices[l.Vertex.String()]; n > 0 {
			p.log(n, l.Stream, l.Data)
		}
	}
}

func (p *progress) vertex(n int, v *client.Vertex) {
	s := &p.steps[n-1]
	if s.from == nil {
		s.from = v.Started
	}
	if s.told == 0 && !v.Cached {
		p.settle(n)
		p.tell(n, build.Running, 0)
	}
	s.ended = 0
	if v.Completed == nil {
		return
	}
	s.to = v.Completed
	switch {
	case v.Error != "":
		s.ended, p.failed = build.Failed, n
	case v.Cached:
		s.ended = build.Cached
	default:
		s.ended = build.Done
	}
}

// settle tells the ends of all steps but one.
func (p *progress) settle(but int) {
	for i := range p.steps {
		s := &p.steps[i]
		if i+1 == but || s.ended == 0 {
			continue
		}
		p.flush(i + 1)
		end := s.ended
		s.ended = 0
		if s.told != end {
			p.tell(i+1, end, since(s.from, s.to))
		}
	}
}

// exporting tells that the last step begins: all others have ended, those that BuildKit said nothing of because it had their results.
func (p *progress) exporting() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle(0)
	for i := range p.plan.Steps {
		if p.steps[i].told == 0 {
			p.tell(i+1, build.Cached, 0)
		}
	}
	p.steps[len(p.steps)-1].exportFrom = time.Now()
	p.tell(len(p.steps), build.Running, 0)
}

// end tells how the steps that are still open ended.
func (p *progress) end(ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle(0)
	for i := range p.plan.Steps {
		p.flush(i + 1)
	}
	n := len(p.steps)
	if e := &p.steps[n-1]; e.told == build.Running {
		state := build.Failed
		if ok {
			state = build.Done
		}
		p.tell(n, state, time.Since(e.exportFrom))
	}
	p.over = true
}

// log cuts output into lines. What a line's carriage returns overwrote is left out, as a terminal would.
func (p *progress) log(n, stream int, data []byte) {
	s := &p.steps[n-1]
	part := &s.partial[min(max(stream, 0), len(s.partial)-1)]
	*part = append(*part, data...)
	end := bytes.LastIndexByte(*part, '\n')
	if end < 0 && len(*part) < 64<<10 {
		return
	}
	if end < 0 {
		end = len(*part) - 1
	}
	p.lines(n, (*part)[:end+1])
	*part = append((*part)[:0], (*part)[end+1:]...)
}

func (p *progress) flush(n int) {
	for i := range p.steps[n-1].partial {
		part := &p.steps[n-1].partial[i]
		if len(*part) > 0 {
			p.lines(n, *part)
			*part = nil
		}
	}
}

func (p *progress) lines(n int, text []byte) {
	s := &p.steps[n-1]
	var lines []string
	for line := range strings.Lines(strings.ToValidUTF8(string(text), "\uFFFD")) {
		line = strings.TrimRight(line, "\r\n")
		line, verdict, ok := runtime.Verdict(line, p.mark)
		if ok {
			s.verdict = verdict
		}
		if ok && line == "" {
			continue
		}
		lines = append(lines, line[strings.LastIndexByte(line, '\r')+1:])
	}
	if len(lines) == 0 {
		return
	}
	s.last = append(s.last, lines...)
	s.last = s.last[max(len(s.last)-build.MaxLastLines, 0):]
	p.events.Log(build.Log{Step: n, Lines: lines})
}
