package rpc

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Bounds of recipes.
const (
	maxSteps   = 200
	maxSecrets = 32 // of a step
)

// recipeFromProto checks the form of a recipe; what its base and steps mean is the builder's to check.
func recipeFromProto(m *skerryv1.Recipe) (image.Recipe, error) {
	r := image.Recipe{Secrets: map[int][]string{}}
	if m.GetBase().GetKind() == nil {
		return r, fault.New(fault.Invalid, "recipe: no base that this gateway knows; begin with debian_slim, or update the gateway")
	}
	if n := len(m.GetSteps()); n > maxSteps {
		return r, fault.New(fault.Invalid, "recipe: %d steps, at most %d", n, maxSteps)
	}
	canonical, ok := proto.Clone(m).(*skerryv1.Recipe)
	if !ok {
		return r, fmt.Errorf("recipe: clone is a %T", canonical)
	}
	if err := noteBase(&r, canonical.GetBase()); err != nil {
		return r, err
	}
	for i, step := range canonical.GetSteps() {
		if step.GetKind() == nil {
			return r, fault.New(fault.Invalid, "recipe: step %d does nothing that this gateway knows; is the client newer?", i+1)
		}
		if err := noteStep(&r, i+1, step); err != nil {
			return r, fault.New(fault.Invalid, "recipe: step %d: %w", i+1, err)
		}
	}
	r.Existing, r.Bare = m.GetBase().GetExisting().GetImageId(), len(m.GetSteps()) == 0
	r.PythonSeries = m.GetBase().GetDebianSlim().GetPythonVersion()
	var err error
	stable := proto.MarshalOptions{Deterministic: true}
	if r.Canonical, err = stable.Marshal(canonical); err != nil {
		return r, fault.New(fault.Invalid, "recipe: %w", err)
	}
	if r.Encoded, err = stable.Marshal(m); err != nil {
		return r, fault.New(fault.Invalid, "recipe: %w", err)
	}
	return r, nil
}

// note checks what one base or step needs beside it, and takes out of it what is no part of an image's identity: ids of secrets, what a
// build function's arguments are packed in, whether to build anew.
func note(r *image.Recipe, number int, secretIDs []string, trees ...string) error {
	if len(secretIDs) > maxSecrets {
		return fault.New(fault.Invalid, "has %d secrets, at most %d are allowed", len(secretIDs), maxSecrets)
	}
	for _, id := range secretIDs {
		if err := ident.Check(ident.Secret, id); err != nil {
			return err
		}
	}
	if len(secretIDs) > 0 {
		r.Secrets[number] = slices.Clone(secretIDs)
	}
	for _, digest := range trees {
		if digest == "" || slices.Contains(r.TreeDigests, digest) {
			continue
		}
		if err := ident.CheckDigest(digest); err != nil {
			return err
		}
		r.TreeDigests = append(r.TreeDigests, digest)
	}
	return nil
}

func noteBase(r *image.Recipe, b *skerryv1.Base) error {
	r.Force = b.GetForceBuild()
	b.ForceBuild = false
	switch k := b.GetKind().(type) {
	case *skerryv1.Base_Registry:
		id := k.Registry.GetSecretId()
		k.Registry.SecretId = ""
		if id != "" {
			return note(r, 0, []string{id})
		}
	case *skerryv1.Base_Existing:
		return ident.Check(ident.Image, k.Existing.GetImageId())
	case *skerryv1.Base_Dockerfile:
		ids := k.Dockerfile.GetSecretIds()
		k.Dockerfile.SecretIds = nil
		return note(r, 0, ids, k.Dockerfile.GetContextTreeDigest())
	}
	return nil
}

func noteStep(r *image.Recipe, number int, s *skerryv1.Step) error {
	r.Force = r.Force || s.GetForceBuild()
	ids := s.GetSecretIds()
	if err := noteVolumes(r, s); err != nil {
		return err
	}
	s.ForceBuild, s.SecretIds = false, nil
	err := note(r, number, ids, stepTree(s))
	if f := s.GetRunFunction(); f != nil {
		f.PayloadTreeDigest = ""
	}
	return err
}

// noteVolumes checks the volumes that a step sees. They stay a part of the image's identity.
func noteVolumes(r *image.Recipe, s *skerryv1.Step) error {
	if len(s.GetVolumes()) == 0 {
		return nil
	}
	if s.GetRunCommands() == nil && s.GetRunFunction() == nil {
		return fault.New(fault.Invalid, "volumes: only steps that run commands or a function have them")
	}
	mounts := make([]function.VolumeMount, 0, len(s.GetVolumes()))
	for path, v := range s.GetVolumes() {
		mounts = append(mounts, function.VolumeMount{VolumeID: v.GetVolumeId(), Path: path, ReadOnly: v.GetReadOnly(), SubPath: v.GetSubPath()})
		if !slices.Contains(r.Volumes, v.GetVolumeId()) {
			r.Volumes = append(r.Volumes, v.GetVolumeId())
		}
	}
	return function.CheckVolumes(mounts)
}

// stepTree is the digest of the tree that a step needs; empty: none.
func stepTree(s *skerryv1.Step) string {
	switch k := s.GetKind().(type) {
	case *skerryv1.Step_AddLocal:
		return k.AddLocal.GetTreeDigest()
	case *skerryv1.Step_PipRequirements:
		return k.PipRequirements.GetTreeDigest()
	case *skerryv1.Step_UvPipInstall:
		return k.UvPipInstall.GetRequirementsTreeDigest()
	case *skerryv1.Step_UvSync:
		return k.UvSync.GetTreeDigest()
	case *skerryv1.Step_PoetryInstall:
		return k.PoetryInstall.GetTreeDigest()
	case *skerryv1.Step_MicromambaInstall:
		return k.MicromambaInstall.GetSpecTreeDigest()
	case *skerryv1.Step_RunFunction:
		return k.RunFunction.GetPayloadTreeDigest()
	case *skerryv1.Step_DockerfileCommands:
		return k.DockerfileCommands.GetContextTreeDigest()
	}
	return ""
}
