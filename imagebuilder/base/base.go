// Package base provides what images start from: a Debian with Python as an OCI layout on this host.
package base

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Image is a base that is there.
type Image struct {
	// Name is for people, such as "debian bookworm, python 3.11".
	Name string
	// Dir is the folder of its OCI layout. Readers don't change it.
	Dir string
	// Digest is that of its manifest.
	Digest string
	// Env is the environment of its containers.
	Env map[string]string
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

// record is the file in a base's folder that says what it is. It is written last: a folder that has it is whole.
type record struct {
	Name   string            `json:"name"`
	Digest string            `json:"digest"`
	Env    map[string]string `json:"env"`
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
	return &Image{Name: r.Name, Dir: dir, Digest: r.Digest, Env: r.Env}, nil
}
