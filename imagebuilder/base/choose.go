package base

import (
	"context"
	"slices"
	"strings"
)

// FromHost gives Debian releases a Python of this host, for series that no release has.
type FromHost struct {
	Debian       *Debian
	Interpreters *Interpreters
}

var _ Provider = (*FromHost)(nil)

// fallbackRelease is Debian's release for interpreters that run on any.
const fallbackRelease = "bookworm"

// Prepare returns the base of a series; see Provider.
func (p *FromHost) Prepare(ctx context.Context, series string, progress func(string)) (*Image, error) {
	known, err := p.Interpreters.Series()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(known, series) {
		return nil, lacking(p, series)
	}
	i, err := p.Interpreters.Prepare(ctx, series, progress)
	if err != nil {
		return nil, err
	}
	release, own := fallbackRelease, seriesOf(fallbackRelease)
	if s := seriesOf(i.Release); s != "" {
		release, own = i.Release, s
	}
	img, err := p.Debian.suite(ctx, release, own, progress)
	if err != nil {
		return nil, err
	}
	out := *img
	out.Name, out.Interpreter = "debian "+release+", "+i.Name, i
	return &out, nil
}

// seriesOf is a release's own series; empty for one that is not known.
func seriesOf(release string) string {
	for series, name := range suites {
		if name == release {
			return series
		}
	}
	return ""
}

// Series are those of the host's interpreters.
func (p *FromHost) Series() (series []string, hint string) {
	known, err := p.Interpreters.Series()
	if err != nil {
		return nil, "the host's interpreters can't be listed: " + err.Error()
	}
	return known, "the operator adds others with `uv python install` or `pyenv install`"
}

// FromRegistry takes bases from a registry.
type FromRegistry struct {
	// Image is the reference of a series' image, with "{python}" for the series, such as "python:{python}-slim".
	Image string
}

var _ Provider = FromRegistry{}

// registrySeries are what images of Python are commonly made for.
var registrySeries = []string{"3.9", "3.10", "3.11", "3.12", "3.13", "3.14"}

// Prepare names the image; whoever builds asks the registry for it.
func (p FromRegistry) Prepare(_ context.Context, series string, _ func(string)) (*Image, error) {
	if !slices.Contains(registrySeries, series) {
		return nil, lacking(p, series)
	}
	ref := strings.ReplaceAll(p.Image, "{python}", series)
	return &Image{Name: ref, Reference: ref}, nil
}

// Series are those that registries commonly have.
func (p FromRegistry) Series() (series []string, hint string) {
	return registrySeries, "these come from a registry"
}

// Chain asks one provider after the other: the first that has a series makes it.
type Chain []Provider

var _ Provider = Chain(nil)

// Prepare returns the base of the first provider that has the series; see Provider.
func (c Chain) Prepare(ctx context.Context, series string, progress func(string)) (*Image, error) {
	for _, p := range c {
		if known, _ := p.Series(); slices.Contains(known, series) {
			return p.Prepare(ctx, series, progress)
		}
	}
	return nil, lacking(c, series)
}

// Series are those of all providers.
func (c Chain) Series() (series []string, hint string) {
	var hints []string
	for _, p := range c {
		known, h := p.Series()
		series, hints = append(series, known...), append(hints, h)
	}
	slices.SortFunc(series, compareSeries)
	return slices.Compact(series), strings.Join(hints, "; ") + "; run the client with one of these, or name one with python_version"
}
