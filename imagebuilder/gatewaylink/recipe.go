package gatewaylink

import (
	"fmt"
	"maps"
	"slices"

	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/fault"
	buildv1 "github.com/skerry-dev/skerry/internal/gen/skerry/build/v1"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/wire"
)

// recipeFromProto converts a recipe. Errors: fault.Unimplemented for kinds of bases and steps that are not known.
func recipeFromProto(req *buildv1.BuildRequest) (recipe.Recipe, error) {
	m, secrets := req.GetRecipe(), req.GetSecrets()
	names := map[int][]string{}
	for _, s := range secrets {
		names[int(s.GetStep())] = slices.Sorted(maps.Keys(s.GetVariables()))
	}
	r := recipe.Recipe{Base: recipe.Base{From: sourceFromProto(m.GetBase(), names[0]), Force: m.GetBase().GetForceBuild()}}
	if m.GetBase().GetExisting() != nil {
		existing, err := existingFromProto(req.GetExisting())
		if err != nil {
			return r, err
		}
		r.Base.From = existing
	}
	if r.Base.From == nil {
		return r, fault.New(fault.Unimplemented, "image: its base is of a kind that this builder does not know; update the builder")
	}
	for i, s := range m.GetSteps() {
		a := pythonFromProto(s)
		if a == nil {
			a = systemFromProto(s)
		}
		if a == nil {
			return r, fault.New(fault.Unimplemented, "image step %d: is of a kind that this builder does not know; update the builder", i+1)
		}
		r.Steps = append(r.Steps, recipe.Step{
			Action: a, Number: i + 1, BuildEnv: s.GetBuildEnv(), Secrets: names[i+1], Volumes: volumesFromProto(s), GPU: s.GetGpu(), Force: s.GetForceBuild(),
		})
	}
	return r, nil
}

func volumesFromProto(s *skerryv1.Step) (out []recipe.Volume) {
	for p, v := range s.GetVolumes() {
		out = append(out, recipe.Volume{ID: v.GetVolumeId(), Path: p, SubPath: v.GetSubPath(), ReadOnly: v.GetReadOnly()})
	}
	return out
}

func sourceFromProto(m *skerryv1.Base, secrets []string) recipe.Source {
	switch k := m.GetKind().(type) {
	case *skerryv1.Base_DebianSlim:
		return &recipe.DebianSlim{Python: k.DebianSlim.GetPythonVersion()}
	case *skerryv1.Base_Registry:
		return &recipe.Registry{
			Reference:   k.Registry.GetReference(),
			Credentials: recipe.Credentials(k.Registry.GetCredentials()), //nolint:gosec // what is not known is refused by Validate
			AddPython:   k.Registry.GetAddPython(), Setup: k.Registry.GetSetupCommands(),
		}
	case *skerryv1.Base_Scratch:
		return &recipe.Scratch{}
	case *skerryv1.Base_Micromamba:
		return &recipe.Micromamba{Python: k.Micromamba.GetPythonVersion()}
	case *skerryv1.Base_Dockerfile:
		d := k.Dockerfile
		return &recipe.Dockerfile{
			Text: d.GetText(), Context: d.GetContextTreeDigest(), BuildArgs: d.GetBuildArgs(), AddPython: d.GetAddPython(),
			BuildEnv: d.GetBuildEnv(), Secrets: secrets, GPU: d.GetGpu(),
		}
	}
	return nil
}

// existingFromProto converts the image that a recipe's base names, which the gateway has looked up.
func existingFromProto(m *buildv1.Built) (*recipe.Existing, error) {
	ref, err := wire.AnyRefFromProto(m.GetErofs())
	if err != nil {
		return nil, fmt.Errorf("image that is there: %w", err)
	}
	return &recipe.Existing{
		File: ref, Chunked: m.GetChunked(), Env: m.GetEnv(), Workdir: m.GetWorkdir(),
		Entrypoint: m.GetEntrypoint(), Cmd: m.GetCmd(), Shell: m.GetShell(), User: m.GetUser(),
	}, nil
}

func pythonFromProto(s *skerryv1.Step) recipe.Action {
	switch k := s.GetKind().(type) {
	case *skerryv1.Step_PipInstall:
		return &recipe.PipInstall{Packages: k.PipInstall.GetPackages(), Index: indexFromProto(k.PipInstall.GetOptions())}
	case *skerryv1.Step_PipRequirements:
		return &recipe.PipRequirements{Tree: k.PipRequirements.GetTreeDigest(), Index: indexFromProto(k.PipRequirements.GetOptions())}
	case *skerryv1.Step_PipPrivateRepos:
		p := k.PipPrivateRepos
		return &recipe.PipPrivateRepos{Repositories: p.GetRepositories(), GitUser: p.GetGitUser(), Index: indexFromProto(p.GetOptions())}
	case *skerryv1.Step_UvPipInstall:
		u := k.UvPipInstall
		return &recipe.UvPipInstall{
			Packages: u.GetPackages(), Index: indexFromProto(u.GetOptions()), Version: u.GetUvVersion(),
			Tree: u.GetRequirementsTreeDigest(), Files: u.GetRequirementsFiles(),
		}
	case *skerryv1.Step_UvSync:
		u := k.UvSync
		return &recipe.UvSync{
			Tree: u.GetTreeDigest(), Locked: u.GetLocked(), Groups: u.GetGroups(), Extras: u.GetExtras(), Frozen: u.GetFrozen(),
			Options: u.GetExtraOptions(), Version: u.GetUvVersion(),
		}
	case *skerryv1.Step_PoetryInstall:
		p := k.PoetryInstall
		return &recipe.PoetryInstall{
			Tree: p.GetTreeDigest(), With: p.GetWith(), Without: p.GetWithout(), Only: p.GetOnly(), Version: p.GetPoetryVersion(),
			OldInstaller: p.GetOldInstaller(),
		}
	case *skerryv1.Step_MicromambaInstall:
		p := k.MicromambaInstall
		return &recipe.MicromambaInstall{
			Packages: p.GetPackages(), Channels: p.GetChannels(), Tree: p.GetSpecTreeDigest(), File: p.GetSpecFile(),
		}
	}
	return nil
}

func systemFromProto(s *skerryv1.Step) recipe.Action {
	switch k := s.GetKind().(type) {
	case *skerryv1.Step_AptInstall:
		return &recipe.AptInstall{Packages: k.AptInstall.GetPackages()}
	case *skerryv1.Step_RunCommands:
		return &recipe.RunCommands{Commands: k.RunCommands.GetCommands()}
	case *skerryv1.Step_RunFunction:
		f := k.RunFunction
		return &recipe.RunFunction{
			Name: f.GetName(), Definition: f.GetDefinitionDigest(), Payload: f.GetPayloadTreeDigest(), Timeout: f.GetTimeoutSeconds(),
			MilliCPU: f.GetMilliCpu(), MemoryMiB: f.GetMemoryMib(),
		}
	case *skerryv1.Step_DockerfileCommands:
		d := k.DockerfileCommands
		return &recipe.DockerfileCommands{Commands: d.GetCommands(), Context: d.GetContextTreeDigest(), BuildArgs: d.GetBuildArgs()}
	case *skerryv1.Step_Env:
		return &recipe.Env{Variables: k.Env.GetVariables()}
	case *skerryv1.Step_Workdir:
		return &recipe.Workdir{Path: k.Workdir.GetPath()}
	case *skerryv1.Step_Entrypoint:
		return &recipe.Entrypoint{Command: k.Entrypoint.GetCommand()}
	case *skerryv1.Step_Shell:
		return &recipe.Shell{Command: k.Shell.GetCommand()}
	case *skerryv1.Step_Cmd:
		return &recipe.Cmd{Command: k.Cmd.GetCommand()}
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
