// Package recipe says how an image is made: a base, then steps in order. It is pure: no clock, no files, no network.
package recipe

import (
	"maps"
	"slices"
	"strings"
)

// Recipe is how to make an image. Equal canonical recipes make the same image; see Canonical.
type Recipe struct {
	// Base is where it starts.
	Base Base
	// Steps are done in order; at most MaxSteps.
	Steps []Step
}

// Base is where an image starts.
type Base struct {
	// From says what it is.
	From Source
	// Force builds it and all after it again, whatever the cache has.
	Force bool
}

// Step is one change to an image.
type Step struct {
	// Action is what is done.
	Action Action
	// Number is the step's position in the recipe as it was given, from 1. Canonical sets it where it is 0.
	Number int
	// BuildEnv holds environment variables of this step alone.
	BuildEnv map[string]string
	// Secrets are the names of variables that this step alone has of secrets; their values come beside the recipe.
	Secrets []string
	// Volumes are what the step sees of volumes, by path; only of RunCommands and RunFunction. What they hold is no part of the recipe.
	Volumes []Volume `json:",omitempty"` // so that steps without them are what they were
	// GPU is what the step is to be built on; empty: none.
	GPU string
	// Force runs this step and all after it again, whatever the cache has.
	Force bool
}

// Volume is a volume that a step sees.
type Volume struct {
	// ID is such as "vo-...".
	ID string
	// Path is where it is, absolute.
	Path string
	// SubPath is the folder of the volume that is there; empty: all of it.
	SubPath string
	// ReadOnly has the step not write to it.
	ReadOnly bool
}

// Action is one of *PipInstall, *PipRequirements, *PipPrivateRepos, *UvPipInstall, *UvSync, *PoetryInstall, *MicromambaInstall,
// *AptInstall, *RunCommands, *RunFunction, *DockerfileCommands, *Env, *Workdir, *Entrypoint, *Shell, *Cmd and *AddLocal.
type Action interface {
	validate() error
	// canonical returns the action in the form that is built; nil: it does nothing.
	canonical() Action
	// trees are the digests of the trees of files that the action needs.
	trees() []string
}

// Canonical returns the recipe in the form that is built: requirements sorted and without repeats, steps that do nothing left out but
// for those that are forced, empty maps nil. It shares nothing with r.
func Canonical(r Recipe) Recipe {
	out := Recipe{Base: Base{From: r.Base.From.canonical(), Force: r.Base.Force}}
	force := false
	for i, s := range r.Steps {
		force = force || s.Force
		a := s.Action.canonical()
		if a == nil {
			continue
		}
		c := Step{Action: a, Number: s.Number, GPU: s.GPU, Force: force, BuildEnv: cloned(s.BuildEnv), Secrets: sorted(s.Secrets), Volumes: byPath(s.Volumes)}
		if c.Number == 0 {
			c.Number = i + 1
		}
		out.Steps, force = append(out.Steps, c), false
	}
	return out
}

// Trees returns the digests of the trees that the recipe needs, each once.
func (r Recipe) Trees() []string {
	all := slices.Clone(r.Base.From.trees())
	for _, s := range r.Steps {
		all = append(all, s.Action.trees()...)
	}
	all = slices.DeleteFunc(all, func(digest string) bool { return digest == "" })
	return slices.Compact(slices.Sorted(slices.Values(all)))
}

// sorted returns the texts in order, each once; nil for none.
func sorted(texts []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(texts)))
}

// byPath returns volumes in the order of their paths.
func byPath(volumes []Volume) []Volume {
	return slices.SortedFunc(slices.Values(volumes), func(a, b Volume) int { return strings.Compare(a.Path, b.Path) })
}

// cloned returns a copy of a map; nil for an empty one.
func cloned(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}
