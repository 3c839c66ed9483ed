package sidecar_test

import (
	"errors"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/sidecar"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// TestRefusals are told before anybody is asked.
func TestRefusals(t *testing.T) {
	s := sidecar.New(sidecar.Deps{})
	box, id, image := ident.New(ident.Sandbox), ident.New(ident.Sidecar), ident.New(ident.Image)
	for name, c := range map[string]struct {
		box, id, name string
		definition    sandbox.Definition
	}{
		"no sandbox's id":       {"sb-1", id, "one", sandbox.Definition{ImageID: image}},
		"no sidecar's id":       {box, box, "one", sandbox.Definition{ImageID: image}},
		"no name":               {box, id, "", sandbox.Definition{ImageID: image}},
		"the sandbox's name":    {box, id, sidecar.Main, sandbox.Definition{ImageID: image}},
		"no image":              {box, id, "one", sandbox.Definition{}},
		"a time of its own":     {box, id, "one", sandbox.Definition{ImageID: image, Timeout: time.Minute}},
		"a network of its own":  {box, id, "one", sandbox.Definition{ImageID: image, Network: sandbox.Network{Block: true}}},
		"ports of its own":      {box, id, "one", sandbox.Definition{ImageID: image, Ports: []sandbox.Port{{Port: 80, Kind: sandbox.H2}}}},
		"a bucket":              {box, id, "one", sandbox.Definition{ImageID: image, Buckets: []function.BucketMount{{}}}},
		"a relative directory":  {box, id, "one", sandbox.Definition{ImageID: image, Workdir: "here"}},
		"an empty program name": {box, id, "one", sandbox.Definition{ImageID: image, Argv: []string{""}}},
	} {
		if _, err := s.Create(t.Context(), c.box, c.id, c.name, c.definition); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
