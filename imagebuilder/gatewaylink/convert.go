package gatewaylink

import (
	"path"
	"strings"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/internal/fault"
	buildv1 "github.com/skerry-dev/skerry/internal/gen/skerry/build/v1"
	"github.com/skerry-dev/skerry/internal/wire"
)

func requestFromProto(m *buildv1.BuildRequest) (build.Request, error) {
	r, err := recipeFromProto(m)
	if err != nil {
		return build.Request{}, err
	}
	out := build.Request{ImageID: m.GetImageId(), Recipe: r, NoCache: m.GetNoCache(), Trees: map[string][]build.File{}}
	for _, t := range m.GetTrees() {
		files := make([]build.File, 0, len(t.GetFiles()))
		for _, f := range t.GetFiles() {
			ref, err := wire.AnyRefFromProto(f.GetBlob())
			if err != nil {
				return build.Request{}, err
			}
			p := f.GetPath()
			if p == "" || path.IsAbs(p) || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../") {
				return build.Request{}, fault.New(fault.Invalid, "tree %q: file %q: want a path below the tree", t.GetTreeDigest(), p)
			}
			files = append(files, build.File{Path: p, Blob: ref, Mode: f.GetMode()})
		}
		out.Trees[t.GetTreeDigest()] = files
	}
	if s := m.GetShared(); s != nil {
		out.Shared = &build.Shared{
			Bundles: s.GetBundleDigests(), Known: s.GetKnown(), Base: s.GetBaseBundleDigest(), Grant: s.GetGrant(), MaxBytes: s.GetMaxBytes(),
		}
	}
	for _, secret := range m.GetSecrets() {
		if out.Secrets == nil {
			out.Secrets = map[int]map[string]string{}
		}
		out.Secrets[int(secret.GetStep())] = secret.GetVariables()
	}
	return out, nil
}
