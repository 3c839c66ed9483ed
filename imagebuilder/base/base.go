// Package base provides what images start from: a Debian with Python as an OCI layout on this host, with another Python of the host put
// into it, or an image of a registry.
package base

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Image is a base that is there, or that a registry has.
type Image struct {
	// Name is for people, such as "debian bookworm, python 3.11".
	Name string
	// Dir is the folder of its OCI layout. Readers don't change it. Empty: it is a registry's.
	Dir string
	// Digest is that of its manifest.
	Digest string
	// Reference names it where it is a registry's.
	Reference string
	// Env is the environment of its containers.
	Env map[string]string
	// Made is when it was made, in seconds since 1970; 0: not known.
	Made int64
	// Interpreter is a Python to put into it; nil: none.
	Interpreter *Interpreter
}

// Provider makes bases.
type Provider interface {
	// Prepare returns the base with a Python series, made first where it is missing; then progress hears lines of what is done, one at
	// a time. Of calls for the same base, also from other processes, one makes it and the others wait. Errors:
	// fault.Precondition for a series that can't be had.
	Prepare(ctx context.Context, series string, progress func(line string)) (*Image, error)
	// Series are those that Prepare knows, and what an operator does for others.
	Series() (series []string, hint string)
}

// compareSeries orders Python series: as text, 3.9 would come after 3.11.
func compareSeries(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }

// lacking is the error for a series that a provider doesn't have.
func lacking(p Provider, series string) error {
	known, hint := p.Series()
	have := "none"
	if len(known) > 0 {
		have = strings.Join(known, ", ")
	}
	return fault.New(fault.Precondition, "python %q: no base has it, those with %s can be had; %s", series, have, hint)
}

// record is the file in a base's folder that says what it is. It is written last: a folder that has it is whole.
type record struct {
	Name   string            `json:"name"`
	Digest string            `json:"digest"`
	Env    map[string]string `json:"env"`
	Made   int64             `json:"made,omitempty"`
}

const recordName = "skerry-base.json"

// load returns the base in a folder, or nil if there is none.
func load(dir string) (*Image, error) {
	data, err := os.ReadFile(filepath.Join(dir, recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // a base that is not there is no error
	}
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fault.New(fault.DataLoss, "base %q: %w; remove the folder to have it made again", dir, err)
	}
	return &Image{Name: r.Name, Dir: dir, Digest: r.Digest, Env: r.Env, Made: r.Made}, nil
}
