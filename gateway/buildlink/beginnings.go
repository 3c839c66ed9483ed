package buildlink

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/gateway/layer"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

// maxBeginnings is how many of a recipe's beginnings have names. What two recipes have in common is found by any name within it.
const maxBeginnings = 16

// beginnings names the beginnings of a recipe, the shortest first: the same for recipes that begin with the same steps. Of a long one the
// first few, and some to the last, have names. What is no part of an image's identity is no part of a name either: ids of secrets least of all.
func beginnings(r *skerryv1.Recipe) (out layer.Recipe, err error) {
	h := sha256.New()
	h.Write([]byte(image.BuilderVersion))
	names := make([]string, 0, len(r.GetSteps())+1)
	add := func(m proto.Message) error {
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			return fault.New(fault.Invalid, "recipe: %w", err)
		}
		fmt.Fprintf(h, "\x00%d\x00", len(data))
		h.Write(data)
		names = append(names, hex.EncodeToString(h.Sum(nil)))
		return nil
	}
	base := proto.CloneOf(r.GetBase())
	base.ForceBuild = false
	if registry := base.GetRegistry(); registry != nil {
		registry.SecretId = ""
	}
	if file := base.GetDockerfile(); file != nil {
		file.SecretIds = nil
	}
	if err := add(base); err != nil {
		return out, err
	}
	if base.GetDebianSlim() != nil {
		out.Base = "base-" + names[0]
	}
	for _, s := range r.GetSteps() {
		s = proto.CloneOf(s)
		s.ForceBuild, s.SecretIds = false, nil
		if f := s.GetRunFunction(); f != nil {
			f.PayloadTreeDigest = ""
		}
		if err := add(s); err != nil {
			return out, err
		}
	}
	if out.Beginnings = names; len(names) <= maxBeginnings {
		return out, nil
	}
	const half = maxBeginnings / 2
	out.Beginnings = names[:half:half]
	for i := range half {
		// In even steps to the last.
		out.Beginnings = append(out.Beginnings, names[half-1+(len(names)-half)*(i+1)/half])
	}
	return out, nil
}
