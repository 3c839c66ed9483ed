package llb

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	bk "github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"

	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Before is the name by which a Dockerfile's FROM knows the state that came before.
const Before = "skerry-before"

// Dockerfile is what a front end reads.
type Dockerfile struct {
	// Text is the Dockerfile.
	Text string
	// Context is what it copies from; nil: nothing.
	Context *bk.State
	// Before is what FROM Before means, and Config how its containers run; nil: nothing.
	Before *bk.State
	Config Config
	// BuildArgs are the values of its ARGs.
	BuildArgs map[string]string
	// Hostname is that of its steps; NoCache runs them again; Arch is the architecture in Go's words, or empty.
	Hostname string
	NoCache  bool
	Arch     string
	// CacheSpace is in the names of the folders that its RUN --mount=type=cache keep from build to build.
	CacheSpace string
	// RecipeStep is the number of the recipe's step that it is; 0: the base.
	RecipeStep int
	// Proxy is handed to its steps.
	Proxy Proxy
}

// Read is what a front end made of a Dockerfile.
type Read struct {
	// State is its last stage.
	State bk.State
	// Config is how its containers run.
	Config Config
}

// FrontEnd reads Dockerfiles. Implemented by solve over BuildKit's own.
type FrontEnd interface {
	// Read turns a Dockerfile into a state; nothing of it is run. Errors: *build.FailedError for a Dockerfile that makes no sense;
	// fault.Unavailable.
	Read(ctx context.Context, d Dockerfile) (*Read, error)
}

// dockerfileBase begins with what a Dockerfile says.
func (p *planner) dockerfileBase(ctx context.Context, d *recipe.Dockerfile) error {
	if d.GPU != "" {
		return noGPU(d.GPU)
	}
	p.config.Env = map[string]string{}
	return p.read(ctx, d.Context, Dockerfile{Text: d.Text, Context: p.contextOf(d.Context), BuildArgs: d.BuildArgs},
		stepBuild{env: d.BuildEnv, secrets: d.Secrets})
}

// dockerfileSteps goes on with Dockerfile commands on what is there.
func (p *planner) dockerfileSteps(ctx context.Context, tree string, d Dockerfile, b stepBuild) error {
	before := p.state
	d.Text, d.Before, d.Config = "FROM "+Before+"\n"+d.Text+"\n", &before, p.config
	return p.read(ctx, tree, d, b)
}

// contextOf is the state of a context; nil: there is none.
func (p *planner) contextOf(tree string) *bk.State {
	if tree == "" {
		return nil
	}
	local := p.local(tree, "read what the Dockerfile copies")
	return &local
}

// read has the front end read a Dockerfile, whose context is a tree, and goes on from its last stage.
func (p *planner) read(ctx context.Context, tree string, d Dockerfile, b stepBuild) error {
	if p.options.FrontEnd == nil {
		return fault.New(fault.Unimplemented, "dockerfile: this builder can't read any")
	}
	d.RecipeStep = p.recipeStep
	d.NoCache, d.Hostname, d.Arch, d.Proxy = p.noCache, hostname, p.options.Arch, p.options.Proxy
	known, head := map[string]bool{}, ""
	var err error
	if d.Before != nil {
		if known, head, err = p.digests(ctx, *d.Before); err != nil {
			return err
		}
	}
	d.CacheSpace = cacheSpace(d, tree, head, b)
	if d.Text, err = p.equip(d.Text, b); err != nil {
		return err
	}
	done, err := p.options.FrontEnd.Read(ctx, d)
	if err != nil {
		return err
	}
	p.use(done.State, done.Config)
	return p.name(ctx, known, b)
}

// cacheSpace names what a Dockerfile's cache mounts may share: all that says what its commands do. Whoever could share a folder with another
// Dockerfile could have that take what he has put there.
func cacheSpace(d Dockerfile, tree, before string, b stepBuild) string {
	var all strings.Builder
	fmt.Fprintf(&all, "%q %q %q %q %q %q", d.Text, tree, before, b.secrets, d.Config.Shell, d.Arch)
	for _, m := range []map[string]string{d.BuildArgs, b.env, d.Config.Env} {
		fmt.Fprintf(&all, " %q", m) // in the order of the keys
	}
	return digest.FromString(all.String()).Encoded()[:32]
}

// digests are those of a state's vertices; the last one is its head's.
func (p *planner) digests(ctx context.Context, s bk.State) (known map[string]bool, head string, err error) {
	def, err := s.Marshal(ctx, bk.Platform(platform(p.options.Arch)))
	if err != nil {
		return nil, "", fault.New(fault.Internal, "image plan: %w", err)
	}
	known = map[string]bool{}
	for dgst, meta := range def.Metadata {
		known[string(dgst)] = true
		if n, err := strconv.Atoi(meta.Description[stepKey]); err == nil {
			p.vertices[string(dgst)] = n // a front end may forget
		}
	}
	if len(def.Def) > 0 {
		head = string(digest.FromBytes(def.Def[len(def.Def)-1]))
	}
	return known, head, nil
}

// checkSecrets refuses a command of a Dockerfile that takes what was given to other steps: a recipe may begin with somebody else's.
func (p *planner) checkSecrets(raw []byte, b stepBuild) error {
	var op pb.Op
	if err := op.UnmarshalVT(raw); err != nil {
		return fault.New(fault.Internal, "image plan: %w", err)
	}
	var ids []string
	for _, e := range op.GetExec().GetSecretenv() {
		ids = append(ids, e.GetID())
	}
	for _, m := range op.GetExec().GetMounts() {
		if s := m.GetSecretOpt(); s != nil {
			ids = append(ids, s.GetID())
		}
	}
	own := map[string]bool{CASecret: true, CAPathSecret: true}
	for _, id := range p.secretVariables(b) {
		own[id] = true
	}
	for name, value := range b.env {
		own[envSecret(b.number, name, value)] = true
	}
	for _, id := range ids {
		if !own[id] && strings.HasPrefix(id, "skerry-") {
			return fault.New(fault.Invalid, "dockerfile: --mount=type=secret,id=%s: is not this step's; its secrets are variables of its commands", short(id))
		}
	}
	return nil
}

// prefix is what the front end puts before the names of its steps, such as "[stage 2/3] ".
var prefix = regexp.MustCompile(`^\[[^\]]*\] `)

// name adds the steps of what the front end made, in the order in which one needs the other.
func (p *planner) name(ctx context.Context, known map[string]bool, b stepBuild) error {
	def, err := p.state.Marshal(ctx, bk.Platform(platform(p.options.Arch)))
	if err != nil {
		return fault.New(fault.Internal, "image plan: %w", err)
	}
	for _, raw := range def.Def {
		dgst := digest.FromBytes(raw)
		if !known[string(dgst)] {
			if err := p.checkSecrets(raw, b); err != nil {
				return err
			}
		}
		text := def.Metadata[dgst].Description[nameKey]
		_, ours := def.Metadata[dgst].Description[stepKey]
		if known[string(dgst)] || ours || text == "" || !prefix.MatchString(text) {
			continue
		}
		text = flags.ReplaceAllString(prefix.ReplaceAllString(text, ""), "")
		step := Step{Name: short(text)}
		if command, isRun := strings.CutPrefix(text, "RUN "); isRun {
			step.Command = command
		}
		p.vertices[string(dgst)] = p.number(step)
	}
	return nil
}

// flags are those that equip puts after RUN, so that nobody has to read them.
var flags = regexp.MustCompile(`--mount=type=secret,id=skerry-[^ ]+ `)

// equip gives the RUN instructions of a Dockerfile by flags what steps of ours have: certificates, settings, the step's own variables and
// its secrets. Instructions stay on their lines, so that errors name the right ones.
func (p *planner) equip(text string, b stepBuild) (string, error) {
	tree, err := parser.Parse(bytes.NewReader([]byte(text)))
	if err != nil {
		return text, nil //nolint:nilerr // the front end says what is wrong, with the place
	}
	run := p.runFlags(b)
	lines := strings.Split(text, "\n")
	for _, node := range tree.AST.Children {
		first := node.StartLine - 1
		if first < 0 || first >= len(lines) {
			return "", fault.New(fault.Internal, "dockerfile: instruction on line %d of %d", node.StartLine, len(lines))
		}
		if strings.EqualFold(node.Value, "run") {
			at := strings.Index(strings.ToLower(lines[first]), "run") + len("run")
			lines[first] = lines[first][:at] + " " + run + strings.TrimLeft(lines[first][at:], " \t")
		}
	}
	return strings.Join(lines, "\n"), nil
}

// runFlags are the flags of RUN that give a command what runOptions gives others.
func (p *planner) runFlags(b stepBuild) string {
	var out strings.Builder
	if p.options.TrustCA {
		fmt.Fprintf(&out, "--mount=type=secret,id=%s,target=%s,mode=0444 ", CASecret, CAPath)
		for _, name := range caVariables {
			if _, own := b.env[name]; !own {
				fmt.Fprintf(&out, "--mount=type=secret,id=%s,env=%s ", CAPathSecret, name)
			}
		}
	}
	secrets := p.secretVariables(b)
	for name, value := range b.env {
		id := envSecret(b.number, name, value)
		p.values[id] = value
		if _, secret := secrets[name]; !secret {
			secrets[name] = id
		}
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		fmt.Fprintf(&out, "--mount=type=secret,id=%s,env=%s ", secrets[name], name)
	}
	return out.String()
}

// envSecret is the secret that holds a variable of a step's own for a Dockerfile's instructions. Such a variable is no secret; its value is
// in the name, so that another value is another cache key.
func envSecret(number int, name, value string) string {
	return "skerry-env-" + strconv.Itoa(number) + "-" + name + "-" + digest.FromString(value).Encoded()[:16]
}
