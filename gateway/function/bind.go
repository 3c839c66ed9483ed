package function

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Bounds of what an instance is made with, in bytes.
const (
	maxConstructor = 64 << 10 // pickled arguments of a constructor
	maxParameter   = 64 << 10 // a parameter's value
)

// Checked returns the binding as it is stored, for a base of the definition: parameters are sorted by name with defaults filled in, so that
// a value given and the same by default are one binding. Errors: fault.Invalid, which names the parameter.
func (b Binding) Checked(base *Definition) (Binding, error) {
	if err := b.checkConstructor(base.Class); err != nil {
		return b, fault.New(fault.Invalid, "%q: %w", base.Name, err)
	}
	var err error
	if b.Parameters, err = filled(b.Parameters, base.Class); err != nil {
		return b, fault.New(fault.Invalid, "class %q: %w", base.Name, err)
	}
	if b.Options != nil && b.Options.empty() {
		b.Options = nil
	}
	_, err = b.Apply(*base)
	return b, err
}

// Empty says that nothing is bound: the base itself is meant.
func (b *Binding) Empty() bool {
	return b.Version == 0 && len(b.Parameters) == 0 && len(b.Constructor) == 0 && b.Options == nil
}

// Key is the same for the same binding, whoever asks for it.
func (b *Binding) Key() (string, error) {
	text, err := json.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("binding of %q: %w", b.BaseID, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

func (b *Binding) checkConstructor(c *Class) error {
	switch {
	case len(b.Constructor) > maxConstructor:
		return fault.New(fault.Invalid, "constructor arguments of %d bytes: at most %d; put large values into a file or a parameter's default", len(b.Constructor), maxConstructor)
	case len(b.Constructor) > 0 && (c == nil || !c.CustomConstructor):
		return fault.New(fault.Invalid, "has no constructor of its own; give parameters by name")
	case len(b.Parameters) > 0 && c == nil:
		return fault.New(fault.Invalid, "is no class and has no parameters")
	}
	return nil
}

// filled returns the values of a class's parameters.
func filled(given []Parameter, c *Class) ([]Parameter, error) {
	if c == nil {
		return nil, nil
	}
	values := make(map[string]Parameter, len(given))
	for _, p := range given {
		i := slices.IndexFunc(c.Parameters, func(s ParameterSpec) bool { return s.Name == p.Name })
		switch {
		case i < 0:
			return nil, fault.New(fault.Invalid, "parameter %.80q was provided but is not defined", p.Name)
		case p.Type != c.Parameters[i].Type:
			return nil, fault.New(fault.Invalid, "parameter %q: expected %s, got %s", p.Name, c.Parameters[i].Type, p.Type)
		}
		if err := p.check(); err != nil {
			return nil, err
		}
		values[p.Name] = p
	}
	all := make([]Parameter, 0, len(c.Parameters))
	for _, s := range c.Parameters {
		p, ok := values[s.Name]
		if !ok {
			if s.Default == nil {
				return nil, fault.New(fault.Invalid, "missing required parameter: %s", s.Name)
			}
			p = *s.Default
			p.Name = s.Name
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Parameter) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// check refuses a value that is too large: it is in the database, and goes to every container.
func (p *Parameter) check() error {
	if n := max(len(p.Text), len(p.Bytes)); n > maxParameter {
		return fault.New(fault.Invalid, "parameter %q: %d bytes, at most %d; put large values into a file", p.Name, n, maxParameter)
	}
	return nil
}

func (o *Options) empty() bool {
	return o.CPUMilli == 0 && o.CPULimitMilli == 0 && o.MemoryMiB == 0 && o.MemoryLimitMiB == 0 && len(o.SecretIDs) == 0 &&
		o.Retries == nil && o.MaxContainers == 0 && o.BufferContainers == 0 && o.ScaledownWindow == 0 && o.Timeout == 0 &&
		o.Placement == nil && o.Concurrency == nil && o.Batching == nil && len(o.Volumes) == 0 && len(o.Buckets) == 0
}

// Apply returns the definition with the binding's options in place of its own. Containers are not kept for a bound function that nobody has
// used: min_containers is 0 until UpdateAutoscaler sets it. Errors: fault.Invalid.
func (b *Binding) Apply(d Definition) (Definition, error) {
	if !b.Empty() && (b.Options != nil || len(b.Parameters) > 0 || len(b.Constructor) > 0) {
		d.Autoscaler.MinContainers = 0
	}
	if b.Options == nil {
		return d, nil
	}
	b.Options.apply(&d)
	return d.Checked()
}

func (o *Options) apply(d *Definition) {
	set(&d.Resources.CPUMilli, o.CPUMilli)
	set(&d.Resources.CPULimitMilli, o.CPULimitMilli)
	set(&d.Resources.MemoryMiB, o.MemoryMiB)
	set(&d.Resources.MemoryLimitMiB, o.MemoryLimitMiB)
	set(&d.Autoscaler.MaxContainers, o.MaxContainers)
	set(&d.Autoscaler.BufferContainers, o.BufferContainers)
	set(&d.Autoscaler.ScaledownWindow, o.ScaledownWindow)
	set(&d.Timeout, o.Timeout)
	if len(o.SecretIDs) > 0 {
		d.SecretIDs = o.SecretIDs
	}
	if len(o.Volumes)+len(o.Buckets) > 0 {
		d.Volumes, d.Buckets = o.Volumes, o.Buckets
	}
	if o.Retries != nil {
		d.Retries = o.Retries
	}
	if o.Placement != nil {
		d.Placement = *o.Placement
	}
	if o.Concurrency != nil {
		d.Concurrency = *o.Concurrency
	}
	if o.Batching != nil {
		d.Batching = o.Batching
	}
}

func set[T comparable](field *T, value T) {
	var zero T
	if value != zero {
		*field = value
	}
}

// AutoscalerChange is what UpdateAutoscaler sets; nil stays as it is.
type AutoscalerChange struct {
	MinContainers, MaxContainers, BufferContainers *int
	ScaledownWindow                                *time.Duration
}

// Applied returns the bounds with the change, or a fault.Invalid.
func (c AutoscalerChange) Applied(a Autoscaler) (Autoscaler, error) {
	for _, f := range []struct {
		field *int
		value *int
	}{{&a.MinContainers, c.MinContainers}, {&a.MaxContainers, c.MaxContainers}, {&a.BufferContainers, c.BufferContainers}} {
		if f.value != nil {
			*f.field = *f.value
		}
	}
	if c.ScaledownWindow != nil {
		a.ScaledownWindow = *c.ScaledownWindow
	}
	return a, a.check()
}

// Over returns what a binding of a bound function is of its base: parameters and options that are given now come over those bound before.
func (b *Binding) Over(given Binding) Binding {
	merged := *b
	if len(given.Parameters) > 0 {
		merged.Parameters = given.Parameters
	}
	if len(given.Constructor) > 0 {
		merged.Constructor = given.Constructor
	}
	switch {
	case given.Options == nil:
	case merged.Options == nil:
		merged.Options = given.Options
	default:
		o := *merged.Options
		o.over(given.Options)
		merged.Options = &o
	}
	return merged
}

func (o *Options) over(given *Options) {
	set(&o.CPUMilli, given.CPUMilli)
	set(&o.CPULimitMilli, given.CPULimitMilli)
	set(&o.MemoryMiB, given.MemoryMiB)
	set(&o.MemoryLimitMiB, given.MemoryLimitMiB)
	set(&o.MaxContainers, given.MaxContainers)
	set(&o.BufferContainers, given.BufferContainers)
	set(&o.ScaledownWindow, given.ScaledownWindow)
	set(&o.Timeout, given.Timeout)
	set(&o.Retries, given.Retries)
	set(&o.Placement, given.Placement)
	set(&o.Concurrency, given.Concurrency)
	set(&o.Batching, given.Batching)
	if len(given.SecretIDs) > 0 {
		o.SecretIDs = given.SecretIDs
	}
	if len(given.Volumes)+len(given.Buckets) > 0 {
		o.Volumes, o.Buckets = given.Volumes, given.Buckets
	}
}
