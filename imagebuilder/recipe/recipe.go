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

// Base is where an image starts: Debian slim with a Python series.
type Base struct {
	// Python is the series, such as "3.11".
	Python string
}

// Step is one change to an image.
type Step struct {
	// Action is what is done.
	Action Action
	// BuildEnv holds environment variables of this step alone.
	BuildEnv map[string]string
	// Force runs this step and all after it again, whatever the cache has.
	Force bool
}

// Action is one of *PipInstall, *UvPipInstall, *AptInstall, *RunCommands, *Env, *Workdir and *AddLocal.
type Action interface {
	validate() error
	canonical() Action
}

// Index says where pip-like installers find packages, and how.
type Index struct {
	// FindLinks, IndexURL and ExtraIndexURL are the options of those names; empty: not given.
	FindLinks, IndexURL, ExtraIndexURL string
	// Pre allows pre-releases.
	Pre bool
	// Options is more options, as a shell would split them.
	Options string
}

// PipInstall installs Python packages with pip.
type PipInstall struct {
	// Packages are requirements, such as "numpy>=2".
	Packages []string
	// Index says where from.
	Index Index
}

// UvPipInstall installs Python packages with uv, which is not left in the image.
type UvPipInstall struct {
	// Packages are requirements.
	Packages []string
	// Index says where from.
	Index Index
	// Version is uv's; empty: the builder's default.
	Version string
}

// AptInstall installs Debian packages.
type AptInstall struct {
	// Packages are names, with "=version" where wanted.
	Packages []string
}

// RunCommands runs shell commands, a layer each.
type RunCommands struct {
	// Commands go to /bin/sh -c.
	Commands []string
}

// Env sets environment variables for later steps and containers.
type Env struct {
	// Variables are names and values.
	Variables map[string]string
}

// Workdir sets the working directory for later steps and containers.
type Workdir struct {
	// Path is absolute.
	Path string
}

// AddLocal copies a tree of local files into the image.
type AddLocal struct {
	// TreeDigest names the tree.
	TreeDigest string
	// RemotePath is the absolute path that the tree becomes.
	RemotePath string
}

// Canonical returns the recipe in the form that is built: requirements sorted and without repeats, steps that do nothing left out,
// empty maps nil. It shares nothing with r.
func Canonical(r Recipe) Recipe {
	out := Recipe{Base: r.Base}
	for _, s := range r.Steps {
		a := s.Action.canonical()
		if a == nil {
			continue
		}
		c := Step{Action: a, Force: s.Force}
		if len(s.BuildEnv) > 0 {
			c.BuildEnv = maps.Clone(s.BuildEnv)
		}
		out.Steps = append(out.Steps, c)
	}
	return out
}

func sorted(packages []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(packages)))
}

func (a *PipInstall) canonical() Action {
	if len(a.Packages) == 0 {
		return nil
	}
	return &PipInstall{Packages: sorted(a.Packages), Index: a.Index}
}

func (a *UvPipInstall) canonical() Action {
	if len(a.Packages) == 0 {
		return nil
	}
	return &UvPipInstall{Packages: sorted(a.Packages), Index: a.Index, Version: a.Version}
}

func (a *AptInstall) canonical() Action {
	if len(a.Packages) == 0 {
		return nil
	}
	return &AptInstall{Packages: sorted(a.Packages)}
}

func (a *RunCommands) canonical() Action {
	if len(a.Commands) == 0 {
		return nil
	}
	return &RunCommands{Commands: slices.Clone(a.Commands)}
}

func (a *Env) canonical() Action {
	if len(a.Variables) == 0 {
		return nil
	}
	return &Env{Variables: maps.Clone(a.Variables)}
}

func (a *Workdir) canonical() Action { return &Workdir{Path: a.Path} }

func (a *AddLocal) canonical() Action {
	return &AddLocal{TreeDigest: a.TreeDigest, RemotePath: a.RemotePath}
}

// Quote returns s as one word of a POSIX shell.
func Quote(s string) string {
	const plain = "@%+=:,./-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(plain, r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}

// QuoteAll returns the words of a POSIX shell command, separated by spaces.
func QuoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Quote(w)
	}
	return strings.Join(quoted, " ")
}
