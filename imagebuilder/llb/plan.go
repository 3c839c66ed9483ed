// Package llb turns a recipe and a base into a BuildKit definition. It is pure: the same arguments give the same bytes.
package llb

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	bk "github.com/moby/buildkit/client/llb"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Names of what a solve has to provide to a definition.
const (
	// BaseStore is the OCI store that holds the base.
	BaseStore = "skerry-base"
	// CASecret is the secret that holds the certificate bundle.
	CASecret = "skerry-ca"
	// CAPathSecret is the secret that holds CAPath.
	CAPathSecret = "skerry-ca-path"
	// SettingSecret is put before the name of each of Options.Settings to give its secret.
	SettingSecret = "skerry-setting-"
	// Runtime is the local folder that holds what runs build functions.
	Runtime = "skerry-runtime"
)

// StepSecret is the secret that holds a variable of the secrets of a recipe's step; 0: the base's.
func StepSecret(number int, name string) string {
	return "skerry-secret-" + strconv.Itoa(number) + "-" + name
}

// PartSecret is the secret that holds a part, from 0, of what a recipe's step runs as a function. BuildKit bounds the size of secrets.
func PartSecret(number, part int) string {
	return "skerry-function-" + strconv.Itoa(number) + "-" + strconv.Itoa(part)
}

// Paths in build steps; nothing of them stays in an image.
const (
	// CAPath is where steps find CASecret.
	CAPath      = "/run/skerry/ca.pem"
	uvMount     = "/run/skerry/uv"
	filesMount  = "/run/skerry/files"
	partsMount  = "/run/skerry/call/"
	sourceMount = "/run/skerry/function"
	guestMount  = "/__skerry"
)

// hostname makes BuildKit give each step a network namespace of its own instead of one from its pool: gVisor takes the address off
// the interface it is given, so a namespace serves once.
const hostname = "build"

// DefaultUv is the version of uv that installs where a recipe names none.
const DefaultUv = "0.13.9"

// Keys of a vertex's description: its step's number, and the name that BuildKit gives it in its progress.
const (
	stepKey = "skerry.step"
	nameKey = "llb.customname"
)

// Base is the image that a recipe starts from. Of one that starts from a Dockerfile, Interpreter alone counts.
type Base struct {
	// Name is for people, such as "debian bookworm, python 3.11".
	Name string
	// Digest is that of its manifest in BaseStore; or Reference names the image of a registry, by its digest. Both empty: it is empty.
	Digest, Reference string
	// Config is how its containers run.
	Config Config
	// Interpreter is a Python to put into it; nil: none.
	Interpreter *Interpreter
}

// Interpreter is a Python that belongs to /usr/local.
type Interpreter struct {
	// Name is for people, such as "python 3.12.1 of uv".
	Name string
	// Series is such as "3.12".
	Series string
	// Digest is that of its manifest in BaseStore.
	Digest string
}

// Config is how the containers of an image run.
type Config struct {
	// Env is their environment.
	Env map[string]string
	// Workdir is their working directory; may be empty.
	Workdir string
	// Entrypoint and Cmd are the words that they run; Shell those that run the commands of later steps. All may be empty.
	Entrypoint, Cmd, Shell []string
	// User is who later steps run as; empty: root.
	User string
}

// Proxy holds the proxy settings of build steps. They are not part of cache keys.
type Proxy struct{ HTTP, HTTPS, No, All string }

// Options are the settings of a definition that are not the recipe's.
type Options struct {
	// Arch is the architecture in Go's words; empty: amd64.
	Arch string
	// NoCache runs every step again.
	NoCache bool
	// TrustCA gives each step the bundle in CASecret and the variables that point to it.
	TrustCA bool
	// Settings are names of environment variables that each step gets from secrets, such as PIP_INDEX_URL. Values are not part of
	// cache keys, nor left in the image.
	Settings []string
	// Proxy is handed to each step.
	Proxy Proxy
	// FileTrees says which of the recipe's trees are one file.
	FileTrees map[string]bool
	// EmptyTrees says which of the recipe's trees have no files.
	EmptyTrees map[string]bool
	// Parts says how many PartSecrets a build function takes, by its payload's tree.
	Parts map[string]int
	// RuntimeID names the content of Runtime; empty: there is none, and no build function can run.
	RuntimeID string
	// FrontEnd reads Dockerfiles; nil: none can be read.
	FrontEnd FrontEnd
}

// Step is one thing that a plan does and people hear of.
type Step struct {
	// Name says what it does.
	Name string
	// Command is what a shell runs; empty for steps that run nothing.
	Command string
	// RecipeStep is the number of the recipe's step that it belongs to; 0: the base.
	RecipeStep int
}

// Plan is what is to be solved.
type Plan struct {
	// Definition is BuildKit's.
	Definition *bk.Definition
	// Steps are in order; step n is Steps[n-1].
	Steps []Step
	// Vertices gives the step of each of the definition's vertices that has one, from 1.
	Vertices map[string]int
	// Trees are the digests of trees that the solve has to provide as local folders named LocalName(digest).
	Trees []string
	// Values are secrets that the solve has to provide beside those that Options name.
	Values map[string]string
	// Config is that of the image's containers.
	Config Config
}

// LocalName is the name under which a solve provides a tree.
func LocalName(treeDigest string) string { return "tree-" + treeDigest }

// LocalFile is the name of the file in the local folder of a tree that is one file.
const LocalFile = "file"

// New plans a canonical, valid recipe. Errors: those of Options.FrontEnd; fault.Unimplemented and fault.Precondition for what can't be
// planned here; fault.Internal for a recipe that is not canonical or valid.
func New(ctx context.Context, r recipe.Recipe, b Base, o Options) (*Plan, error) {
	o.NoCache = o.NoCache || r.Base.Force
	p := newPlanner(o)
	if err := p.start(ctx, r.Base.From, b); err != nil {
		return nil, fmt.Errorf("image base: %w", err)
	}
	for _, s := range r.Steps {
		p.noCache, p.recipeStep = p.noCache || s.Force, s.Number
		if err := p.step(ctx, s); err != nil {
			return nil, fmt.Errorf("image step %d: %w", s.Number, err)
		}
	}
	def, err := p.state.Marshal(ctx, bk.Platform(platform(o.Arch)))
	if err != nil {
		return nil, fault.New(fault.Internal, "image plan: %w", err)
	}
	plan := &Plan{
		Definition: def, Steps: p.steps, Vertices: p.vertices, Trees: slices.Sorted(maps.Keys(p.trees)), Config: p.config, Values: p.values,
	}
	for dgst, meta := range def.Metadata {
		text, ok := meta.Description[stepKey]
		if !ok {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fault.New(fault.Internal, "image plan: step number %q: %w", text, err)
		}
		plan.Vertices[string(dgst)] = n
	}
	return plan, nil
}

func platform(arch string) ocispec.Platform {
	if arch == "" {
		arch = "amd64"
	}
	return ocispec.Platform{OS: "linux", Architecture: arch}
}
