package function

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Bounds and defaults of policies.
const (
	MaxRetries          = 1000
	DefaultInitialDelay = time.Second
	MaxInitialDelay     = 60 * time.Second
	DefaultMaxDelay     = 60 * time.Second
	MinMaxDelay         = time.Second
	MaxBackoff          = 10
	MaxConcurrentInputs = 1000
	MaxBatchSize        = 1000
	MaxBatchWait        = 600 * time.Second
	maxMethods          = 1000
	maxParameters       = 100
	maxPlaces           = 100
)

// checked returns the policy with its defaults.
func (r Retries) checked() (Retries, error) {
	if r.Backoff == 0 {
		r.Backoff = 1
	}
	if r.MaxDelay == 0 {
		r.MaxDelay = DefaultMaxDelay
	}
	switch {
	case r.Max < 0 || r.Max > MaxRetries:
		return r, fault.New(fault.Invalid, "max_retries %d: want 0 to %d", r.Max, MaxRetries)
	case r.InitialDelay < 0 || r.InitialDelay > MaxInitialDelay:
		return r, fault.New(fault.Invalid, "initial_delay %s: want 0 s to %s", r.InitialDelay, MaxInitialDelay)
	case r.MaxDelay < MinMaxDelay || r.MaxDelay > DefaultMaxDelay:
		return r, fault.New(fault.Invalid, "max_delay %s: want %s to %s", r.MaxDelay, MinMaxDelay, DefaultMaxDelay)
	case !(r.Backoff >= 1 && r.Backoff <= MaxBackoff):
		return r, fault.New(fault.Invalid, "backoff_coefficient %g: want 1 to %d", r.Backoff, MaxBackoff)
	}
	return r, nil
}

// Delay is how long the n-th retry waits, n from 1.
func (r Retries) Delay(n int) time.Duration {
	most := r.MaxDelay
	if most == 0 {
		most = DefaultMaxDelay
	}
	d := float64(r.InitialDelay) * math.Pow(r.Backoff, float64(n-1))
	return time.Duration(min(d, float64(most)))
}

// checked returns the concurrency with its defaults.
func (c Concurrency) checked() (Concurrency, error) {
	if c.Max == 0 {
		c.Max = max(1, c.Target)
	}
	if c.Target == 0 {
		c.Target = c.Max
	}
	switch {
	case c.Max < 1 || c.Max > MaxConcurrentInputs:
		return c, fault.New(fault.Invalid, "max_inputs %d: want 1 to %d", c.Max, MaxConcurrentInputs)
	case c.Target < 1 || c.Target > c.Max:
		return c, fault.New(fault.Invalid, "target_inputs %d: want 1 to max_inputs, %d", c.Target, c.Max)
	}
	return c, nil
}

func (b *Batching) check() error {
	switch {
	case b == nil:
		return nil
	case b.Size < 1 || b.Size > MaxBatchSize:
		return fault.New(fault.Invalid, "max_batch_size %d: want 1 to %d", b.Size, MaxBatchSize)
	case b.Wait < 0 || b.Wait > MaxBatchWait:
		return fault.New(fault.Invalid, "wait_ms %d: want 0 to %d", b.Wait.Milliseconds(), MaxBatchWait.Milliseconds())
	}
	return nil
}

var place = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func (p Placement) check() error {
	if len(p.Regions) > maxPlaces || len(p.Clouds) > maxPlaces {
		return fault.New(fault.Invalid, "placement: at most %d regions and %d clouds", maxPlaces, maxPlaces)
	}
	for _, name := range slices.Concat(p.Regions, p.Clouds) {
		if !place.MatchString(name) {
			return fault.New(fault.Invalid, "region or cloud %.80q: want 1 to 63 of [A-Za-z0-9._-]", name)
		}
	}
	return nil
}

// identifier is a Python name, as far as it concerns us: no spaces, no quotes, nothing that could be taken for a path.
var identifier = regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_]{0,127}$`)

func (c *Class) check() error {
	if c == nil {
		return nil
	}
	if len(c.Methods) == 0 || len(c.Methods) > maxMethods {
		return fault.New(fault.Invalid, "class with %d remote methods: want 1 to %d; mark them with @skerry.method()", len(c.Methods), maxMethods)
	}
	if len(c.Parameters) > maxParameters {
		return fault.New(fault.Invalid, "class with %d parameters: at most %d", len(c.Parameters), maxParameters)
	}
	if c.CustomConstructor && len(c.Parameters) > 0 {
		return fault.New(fault.Invalid, "class with parameters and a constructor of its own: want one of the two")
	}
	seen := map[string]bool{}
	for _, m := range c.Methods {
		if !identifier.MatchString(m.Name) || seen[m.Name] {
			return fault.New(fault.Invalid, "method %.80q: want a name, and each once", m.Name)
		}
		seen[m.Name] = true
	}
	clear(seen)
	for _, p := range c.Parameters {
		if err := p.check(); err != nil {
			return err
		}
		if seen[p.Name] {
			return fault.New(fault.Invalid, "parameter %q: declared twice", p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

func (p ParameterSpec) check() error {
	switch {
	case !identifier.MatchString(p.Name):
		return fault.New(fault.Invalid, "parameter %.80q: want a name", p.Name)
	case p.Type < StringParameter || p.Type > BoolParameter:
		return fault.New(fault.Invalid, "parameter %q: type %d: want str, int, bytes or bool", p.Name, p.Type)
	case p.Default != nil && p.Default.Type != p.Type:
		return fault.New(fault.Invalid, "parameter %q: the default is %s, the parameter %s", p.Name, p.Default.Type, p.Type)
	case p.Default != nil:
		return p.Default.check()
	}
	return nil
}

// String names the type as Python does.
func (t ParameterType) String() string {
	switch t {
	case StringParameter:
		return "str"
	case IntParameter:
		return "int"
	case BytesParameter:
		return "bytes"
	case BoolParameter:
		return "bool"
	}
	return "unknown"
}

// check looks at a schedule's form; what a cron expression means is gateway/cron's to say.
func (s *Schedule) check() error {
	switch {
	case s == nil:
		return nil
	case (s.Cron == "") == (s.Period == nil):
		return fault.New(fault.Invalid, "schedule: want a cron expression or a period")
	case s.Period == nil:
		if len(s.Cron) > 200 || len(s.Timezone) > 64 || strings.ContainsAny(s.Cron+s.Timezone, "\x00\r\n") {
			return fault.New(fault.Invalid, "cron %.80q in time zone %.80q: want five fields and the name of a zone", s.Cron, s.Timezone)
		}
		return nil
	default:
		return s.Period.check()
	}
}

func (p Period) check() error {
	for _, n := range []int{p.Years, p.Months, p.Weeks, p.Days, p.Hours, p.Minutes} {
		if n < 0 || n > 1_000_000 {
			return fault.New(fault.Invalid, "period: %d of a unit; want 0 to 1,000,000", n)
		}
	}
	if math.IsNaN(p.Seconds) || p.Seconds < 0 || p.Seconds > 1e9 {
		return fault.New(fault.Invalid, "period: %g seconds; want 0 to 1e9", p.Seconds)
	}
	if p.Years+p.Months+p.Weeks+p.Days+p.Hours+p.Minutes == 0 && p.Seconds < 1 {
		return fault.New(fault.Invalid, "period: want at least one second")
	}
	return nil
}

// checkPolicies checks what says how a function is run, and fills in defaults.
func (d *Definition) checkPolicies() error {
	for _, check := range []func() error{d.Class.check, d.Batching.check, d.Schedule.check, d.Placement.check} {
		if err := check(); err != nil {
			return err
		}
	}
	var err error
	if d.Concurrency, err = d.Concurrency.checked(); err != nil {
		return err
	}
	if d.Retries != nil {
		r, err := d.Retries.checked()
		if err != nil {
			return err
		}
		d.Retries = &r
	}
	return d.checkTogether()
}

// checkTogether refuses what excludes one another.
func (d *Definition) checkTogether() error {
	switch {
	case d.Generator && d.Class != nil:
		return fault.New(fault.Invalid, "a class is no generator; its methods may be")
	case d.Generator && d.Retries != nil && d.Retries.Max > 0:
		return fault.New(fault.Invalid, "retries: not for generators, whose items have been seen")
	case d.Generator && d.Batching != nil:
		return fault.New(fault.Invalid, "batching: not for generators")
	case d.Batching != nil && d.Class != nil && len(d.Class.Methods) > 1:
		return fault.New(fault.Invalid, "batching: a class with a batched method has no other remote methods")
	case d.Schedule != nil && d.Class != nil:
		return fault.New(fault.Invalid, "schedule: not for classes")
	case d.Schedule != nil && d.Generator:
		return fault.New(fault.Invalid, "schedule: not for generators, whose items nobody would read")
	}
	return nil
}
