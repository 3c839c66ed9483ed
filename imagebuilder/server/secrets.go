package server

import (
	"context"
	"io"
	"os"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/llb"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/fault"
)

const (
	// partSize is how much of a build function's payload goes into one secret, in bytes; BuildKit takes 500 KiB.
	partSize = 480 << 10
	// maxPayload is the most of a build function's payload, in bytes.
	maxPayload = 9 << 20
)

// secrets returns what a solve has to provide: settings, certificates, what the recipe's steps have of secrets, and what its build
// functions run. The bundle is read anew for every build, so that changes of the host's trust count at once.
func (s *Server) secrets(ctx context.Context, r recipe.Recipe, req build.Request) (map[string][]byte, error) {
	out := map[string][]byte{llb.CAPathSecret: []byte(llb.CAPath)}
	for name, value := range s.config.Settings {
		out[llb.SettingSecret+name] = []byte(value)
	}
	for number, variables := range req.Secrets {
		for name, value := range variables {
			out[llb.StepSecret(number, name)] = []byte(value)
		}
	}
	for _, step := range r.Steps {
		if f, ok := step.Action.(*recipe.RunFunction); ok {
			if err := s.parts(ctx, step.Number, req.Trees[f.Payload], out); err != nil {
				return nil, err
			}
		}
	}
	if s.config.CABundle != "" {
		data, err := os.ReadFile(s.config.CABundle)
		if err != nil {
			return nil, fault.New(fault.Precondition, "certificates for builds: %w; name another file as the builder's CA bundle", err)
		}
		out[llb.CASecret] = data
	}
	return out, nil
}

// parts reads what a build function runs.
func (s *Server) parts(ctx context.Context, number int, files []build.File, out map[string][]byte) error {
	if len(files) != 1 || files[0].Path != "." || files[0].Blob.Size > maxPayload {
		return fault.New(fault.Invalid, "image step %d: what it runs is no file of at most %d bytes", number, maxPayload)
	}
	r, err := s.blobs.Open(ctx, files[0].Blob)
	if err != nil {
		return err
	}
	defer r.Close()
	for i := 0; ; i++ {
		part, err := io.ReadAll(io.LimitReader(r, partSize))
		if err != nil {
			return err
		}
		if len(part) == 0 {
			return nil
		}
		out[llb.PartSecret(number, i)] = part
	}
}
