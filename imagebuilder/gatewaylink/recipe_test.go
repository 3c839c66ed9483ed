package gatewaylink

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	buildv1 "github.com/skerry-dev/skerry/internal/gen/skerry/build/v1"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
)

// TestEveryStep converts a step of each kind with all its fields.
func TestEveryStep(t *testing.T) {
	options, index := &skerryv1.IndexOptions{FindLinks: "f", IndexUrl: "i", ExtraIndexUrl: "e", Pre: true, ExtraOptions: "o"},
		recipe.Index{FindLinks: "f", IndexURL: "i", ExtraIndexURL: "e", Pre: true, Options: "o"}
	one := []string{"a"}
	m := &skerryv1.Recipe{Base: &skerryv1.Base{Kind: &skerryv1.Base_Scratch{}, ForceBuild: true}, Steps: []*skerryv1.Step{
		{Kind: &skerryv1.Step_PipInstall{PipInstall: &skerryv1.PipInstall{Packages: one, Options: options}}},
		{Kind: &skerryv1.Step_PipRequirements{PipRequirements: &skerryv1.PipRequirements{TreeDigest: "t", Options: options}}},
		{Kind: &skerryv1.Step_PipPrivateRepos{PipPrivateRepos: &skerryv1.PipPrivateRepos{Repositories: one, GitUser: "u", Options: options}}},
		{Kind: &skerryv1.Step_UvPipInstall{UvPipInstall: &skerryv1.UvPipInstall{
			Packages: one, Options: options, UvVersion: "v", RequirementsTreeDigest: "t", RequirementsFiles: one,
		}}},
		{Kind: &skerryv1.Step_UvSync{UvSync: &skerryv1.UvSync{
			TreeDigest: "t", Locked: true, Groups: one, Extras: []string{"e"}, Frozen: true, ExtraOptions: "o", UvVersion: "v",
		}}},
		{Kind: &skerryv1.Step_PoetryInstall{PoetryInstall: &skerryv1.PoetryInstall{
			TreeDigest: "t", With: one, Without: []string{"b"}, Only: []string{"c"}, PoetryVersion: "v", OldInstaller: true,
		}}},
		{Kind: &skerryv1.Step_MicromambaInstall{MicromambaInstall: &skerryv1.MicromambaInstall{
			Packages: one, Channels: []string{"c"}, SpecTreeDigest: "t", SpecFile: "f",
		}}},
		{Kind: &skerryv1.Step_AptInstall{AptInstall: &skerryv1.AptInstall{Packages: one}}},
		{Kind: &skerryv1.Step_RunCommands{RunCommands: &skerryv1.RunCommands{Commands: one}}},
		{Kind: &skerryv1.Step_RunFunction{RunFunction: &skerryv1.RunFunction{
			Name: "n", DefinitionDigest: "d", PayloadTreeDigest: "t", TimeoutSeconds: 1, MilliCpu: 2, MemoryMib: 3,
		}}},
		{Kind: &skerryv1.Step_DockerfileCommands{DockerfileCommands: &skerryv1.DockerfileCommands{
			Commands: one, ContextTreeDigest: "t", BuildArgs: map[string]string{"A": "b"},
		}}},
		{Kind: &skerryv1.Step_Env{Env: &skerryv1.EnvStep{Variables: map[string]string{"A": "b"}}}},
		{Kind: &skerryv1.Step_Workdir{Workdir: &skerryv1.Workdir{Path: "/w"}}},
		{Kind: &skerryv1.Step_Entrypoint{Entrypoint: &skerryv1.Entrypoint{Command: one}}},
		{Kind: &skerryv1.Step_Shell{Shell: &skerryv1.ShellStep{Command: one}}},
		{Kind: &skerryv1.Step_Cmd{Cmd: &skerryv1.CmdStep{Command: one}}},
		{Kind: &skerryv1.Step_AddLocal{AddLocal: &skerryv1.AddLocal{TreeDigest: "t", RemotePath: "/r"}}, Gpu: "T4"},
	}}
	want := recipe.Recipe{Base: recipe.Base{From: &recipe.Scratch{}, Force: true}}
	for i, a := range []recipe.Action{
		&recipe.PipInstall{Packages: one, Index: index},
		&recipe.PipRequirements{Tree: "t", Index: index},
		&recipe.PipPrivateRepos{Repositories: one, GitUser: "u", Index: index},
		&recipe.UvPipInstall{Packages: one, Index: index, Version: "v", Tree: "t", Files: one},
		&recipe.UvSync{Tree: "t", Locked: true, Groups: one, Extras: []string{"e"}, Frozen: true, Options: "o", Version: "v"},
		&recipe.PoetryInstall{Tree: "t", With: one, Without: []string{"b"}, Only: []string{"c"}, Version: "v", OldInstaller: true},
		&recipe.MicromambaInstall{Packages: one, Channels: []string{"c"}, Tree: "t", File: "f"},
		&recipe.AptInstall{Packages: one},
		&recipe.RunCommands{Commands: one},
		&recipe.RunFunction{Name: "n", Definition: "d", Payload: "t", Timeout: 1, MilliCPU: 2, MemoryMiB: 3},
		&recipe.DockerfileCommands{Commands: one, Context: "t", BuildArgs: map[string]string{"A": "b"}},
		&recipe.Env{Variables: map[string]string{"A": "b"}},
		&recipe.Workdir{Path: "/w"},
		&recipe.Entrypoint{Command: one},
		&recipe.Shell{Command: one},
		&recipe.Cmd{Command: one},
		&recipe.AddLocal{TreeDigest: "t", RemotePath: "/r"},
	} {
		want.Steps = append(want.Steps, recipe.Step{Action: a, Number: i + 1})
	}
	want.Steps[1].Secrets = []string{"X", "Y"}
	want.Steps[16].GPU = "T4"
	got, err := recipeFromProto(&buildv1.BuildRequest{
		Recipe: m, Secrets: []*buildv1.StepSecrets{{Step: 2, Variables: map[string]string{"Y": "1", "X": "2"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEveryBase(t *testing.T) {
	file := payload.Ref{Digest: ident.Digest([]byte("manifest")), Size: 9}
	for _, c := range []struct {
		base *skerryv1.Base
		want recipe.Source
	}{
		{
			&skerryv1.Base{Kind: &skerryv1.Base_DebianSlim{DebianSlim: &skerryv1.DebianSlim{PythonVersion: "3.11"}}},
			&recipe.DebianSlim{Python: "3.11"},
		},
		{
			&skerryv1.Base{Kind: &skerryv1.Base_Registry{Registry: &skerryv1.RegistryBase{
				Reference: "r", Credentials: skerryv1.RegistryCredentials_REGISTRY_CREDENTIALS_GCP, AddPython: "3.12", SetupCommands: []string{"s"},
			}}},
			&recipe.Registry{Reference: "r", Credentials: recipe.GCP, AddPython: "3.12", Setup: []string{"s"}},
		},
		{
			&skerryv1.Base{Kind: &skerryv1.Base_Micromamba{Micromamba: &skerryv1.MicromambaBase{PythonVersion: "3.11"}}},
			&recipe.Micromamba{Python: "3.11"},
		},
		{
			&skerryv1.Base{Kind: &skerryv1.Base_Dockerfile{Dockerfile: &skerryv1.DockerfileBase{
				Text: "t", ContextTreeDigest: "c", BuildArgs: map[string]string{"A": "b"}, AddPython: "3.12", BuildEnv: map[string]string{"C": "d"}, Gpu: "T4",
			}}},
			&recipe.Dockerfile{
				Text: "t", Context: "c", BuildArgs: map[string]string{"A": "b"}, AddPython: "3.12", BuildEnv: map[string]string{"C": "d"},
				Secrets: []string{"S"}, GPU: "T4",
			},
		},
		{
			&skerryv1.Base{Kind: &skerryv1.Base_Existing{Existing: &skerryv1.ExistingBase{ImageId: "im-1"}}},
			&recipe.Existing{
				File: file, Chunked: true, Env: map[string]string{"A": "b"}, Workdir: "/w",
				Entrypoint: []string{"e"}, Cmd: []string{"c"}, Shell: []string{"s"}, User: "u",
			},
		},
	} {
		got, err := recipeFromProto(&buildv1.BuildRequest{
			Recipe: &skerryv1.Recipe{Base: c.base}, Secrets: []*buildv1.StepSecrets{{Variables: map[string]string{"S": "v"}}},
			Existing: &buildv1.Built{
				Erofs: wire.RefToProto(file), Chunked: true, Env: map[string]string{"A": "b"}, Workdir: "/w",
				Entrypoint: []string{"e"}, Cmd: []string{"c"}, Shell: []string{"s"}, User: "u",
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got.Base.From); diff != "" {
			t.Error(diff)
		}
	}
}
