package solve

import (
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/client"
	gwclient "github.com/moby/buildkit/frontend/gateway/client"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Cache is where several builders share the results of steps, beside the layer cache that each has: BuildKit's own cache export.
type Cache struct {
	// Type is CacheRegistry, CacheFolder or CacheS3; empty: nothing is shared.
	Type string
	// Attrs are BuildKit's for the type, but for the names of entries.
	Attrs map[string]string
}

// Kinds of shared caches, as BuildKit calls them.
const (
	CacheRegistry = "registry"
	CacheFolder   = "local"
	CacheS3       = "s3"
)

// ParseCache reads a cache in BuildKit's words, such as "type=registry,ref=registry.example.com/skerry/cache",
// "type=local,dir=/mnt/shared" or "type=s3,bucket=b,region=eu-west-1". Empty is none. Errors: fault.Invalid.
func ParseCache(text string) (Cache, error) {
	c := Cache{Attrs: map[string]string{}}
	if text == "" {
		return c, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok || name == "" || value == "" {
			return c, fault.New(fault.Invalid, "shared layer cache: part %q: want name=value", part)
		}
		if name == "type" {
			c.Type = value
		} else {
			c.Attrs[name] = value
		}
	}
	need := map[string][]string{CacheRegistry: {"ref"}, CacheFolder: {"dir"}, CacheS3: {"bucket", "region"}}
	names, known := need[c.Type]
	if !known {
		return c, fault.New(fault.Invalid, "shared layer cache: type %q: want %s, %s or %s", c.Type, CacheRegistry, CacheFolder, CacheS3)
	}
	for _, n := range names {
		if c.Attrs[n] == "" {
			return c, fault.New(fault.Invalid, "shared layer cache: type %s: %s is missing", c.Type, n)
		}
	}
	return c, nil
}

// entry is BuildKit's form of the cache under a name. Each has a map of its own, for BuildKit adds to it.
func (c Cache) entry(name string) client.CacheOptionsEntry {
	a := maps.Clone(c.Attrs)
	switch c.Type {
	case CacheRegistry:
		a["ref"] += ":" + name
	case CacheFolder:
		a["src"], a["dest"], a["tag"] = a["dir"], a["dir"], name
		delete(a, "dir")
	case CacheS3:
		a["name"] = name
	}
	return client.CacheOptionsEntry{Type: c.Type, Attrs: a}
}

// imports are where results are looked for: the longest beginning that another build may have had in common comes first.
func (c Cache) imports(names []string) []client.CacheOptionsEntry {
	if c.Type == "" {
		return nil
	}
	var out []client.CacheOptionsEntry
	for _, n := range slices.Backward(names) {
		out = append(out, c.entry(n))
	}
	return out
}

// exports are where the results of a build go: under the name of every beginning, so that whoever shares one finds them. A cache that can't
// be written to fails no build.
func (c Cache) exports(names []string) []client.CacheOptionsEntry {
	if c.Type == "" {
		return nil
	}
	var out []client.CacheOptionsEntry
	for _, n := range names {
		e := c.entry(n)
		e.Attrs["mode"], e.Attrs["ignore-error"], e.Attrs["compression"] = "max", "true", "zstd"
		out = append(out, e)
	}
	return out
}

// forGateway is the form of imports for a solve within a build. They share their attributes, to which the outer one adds digests.
func forGateway(entries []client.CacheOptionsEntry) []gwclient.CacheOptionsEntry {
	var out []gwclient.CacheOptionsEntry
	for _, e := range entries {
		if e.Type == CacheFolder && e.Attrs["digest"] == "" {
			continue // there is nothing under this name
		}
		out = append(out, gwclient.CacheOptionsEntry{Type: e.Type, Attrs: e.Attrs})
	}
	return out
}
