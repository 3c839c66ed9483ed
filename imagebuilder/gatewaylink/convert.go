package gatewaylink

import (
	"path"
	"strings"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/fault"
	buildv1 "github.com/skerry-dev/skerry/internal/gen/skerry/build/v1"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/wire"
)

func requestFromProto(m *buildv1.BuildRequest) (build.Request, error) {
	r, err := recipeFromProto(m.GetRecipe())
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
	return out, nil
}

// recipeFromProto converts a recipe. Errors: fault.Invalid for kinds of bases and steps that are not known.
func recipeFromProto(m *skerryv1.Recipe) (recipe.Recipe, error) {
	base := m.GetBase().GetDebianSlim()
	if base == nil {
		return recipe.Recipe{}, fault.New(fault.Invalid, "image: its base is of a kind that this builder does not know; update the builder")
	}
	r := recipe.Recipe{Base: recipe.Base{Python: base.GetPythonVersion()}}
	for i, s := range m.GetSteps() {
		a := actionFromProto(s)
		if a == nil {
			return recipe.Recipe{}, fault.New(fault.Invalid,
				"image step %d: is of a kind that this builder does not know; update the builder", i+1)
		}
		r.Steps = append(r.Steps, recipe.Step{Action: a, BuildEnv: s.GetBuildEnv(), Force: s.GetForceBuild()})
	}
	return r, nil
}

func actionFromProto(s *skerryv1.Step) recipe.Action {
	switch k := s.GetKind().(type) {
	case *skerryv1.Step_PipInstall:
		return &recipe.PipInstall{Packages: k.PipInstall.GetPackages(), Index: indexFromProto(k.PipInstall.GetOptions())}
	case *skerryv1.Step_UvPipInstall:
		u := k.UvPipInstall
		return &recipe.UvPipInstall{Packages: u.GetPackages(), Index: indexFromProto(u.GetOptions()), Version: u.GetUvVersion()}
	case *skerryv1.Step_AptInstall:
		return &recipe.AptInstall{Packages: k.AptInstall.GetPackages()}
	case *skerryv1.Step_RunCommands:
		return &recipe.RunCommands{Commands: k.RunCommands.GetCommands()}
	case *skerryv1.Step_Env:
		return &recipe.Env{Variables: k.Env.GetVariables()}
	case *skerryv1.Step_Workdir:
		return &recipe.Workdir{Path: k.Workdir.GetPath()}
	case *skerryv1.Step_AddLocal:
		return &recipe.AddLocal{TreeDigest: k.AddLocal.GetTreeDigest(), RemotePath: k.AddLocal.GetRemotePath()}
	}
	return nil
}

func indexFromProto(m *skerryv1.IndexOptions) recipe.Index {
	return recipe.Index{
		FindLinks: m.GetFindLinks(), IndexURL: m.GetIndexUrl(), ExtraIndexURL: m.GetExtraIndexUrl(),
		Pre: m.GetPre(), Options: m.GetExtraOptions(),
	}
}
