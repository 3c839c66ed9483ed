package solve

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	bk "github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	gwclient "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/llb"
	"github.com/skerry-dev/skerry/internal/fault"
)

// frontEnd reads Dockerfiles with buildkitd's own front end. One that a Dockerfile names itself is not fetched.
type frontEnd struct{ client gwclient.Client }

var _ llb.FrontEnd = frontEnd{}

// readStep is the step that a Dockerfile fails at which makes no sense.
const readStep = "read the Dockerfile"

// imageConfig is the part of an image's configuration that matters here, with Docker's own SHELL.
type imageConfig struct {
	ocispec.Platform
	Config struct {
		ocispec.ImageConfig
		Shell []string `json:"Shell,omitempty"`
	} `json:"config"`
}

// Read implements llb.FrontEnd.
func (f frontEnd) Read(ctx context.Context, d llb.Dockerfile) (*llb.Read, error) {
	request, err := f.request(ctx, d)
	if err != nil {
		return nil, err
	}
	res, err := f.client.Solve(ctx, request)
	if err != nil {
		return nil, explainDockerfile(ctx, d, err)
	}
	ref, err := res.SingleRef()
	if err != nil {
		return nil, fault.New(fault.Internal, "dockerfile: %w", err)
	}
	out := &llb.Read{State: bk.Scratch()}
	if out.Config, err = readConfig(res.Metadata[exptypes.ExporterImageConfigKey]); err != nil {
		return nil, err
	}
	if ref == nil {
		return out, nil // nothing is in the image
	}
	if out.State, err = ref.ToState(); err != nil {
		return nil, fault.New(fault.Internal, "dockerfile: %w", err)
	}
	return out, checkSources(ctx, d, out.State)
}

func (f frontEnd) request(ctx context.Context, d llb.Dockerfile) (gwclient.SolveRequest, error) {
	inputs := map[string]*bk.State{}
	text := bk.Scratch().File(bk.Mkfile("/Dockerfile", 0o644, []byte(d.Text)))
	inputs["dockerfile"], inputs["context"] = &text, filled(d.Context)
	// cmdline keeps the front end from fetching another one, by the Dockerfile's syntax line or a build argument.
	opts := map[string]string{"cmdline": "skerry", "hostname": d.Hostname, "platform": "linux/" + arch(d.Arch)}
	if d.NoCache {
		opts["no-cache"] = ""
	}
	for name, value := range map[string]string{
		"HTTP_PROXY": d.Proxy.HTTP, "HTTPS_PROXY": d.Proxy.HTTPS, "NO_PROXY": d.Proxy.No, "ALL_PROXY": d.Proxy.All,
	} {
		if value != "" {
			opts["build-arg:"+name] = value
		}
	}
	for name, value := range d.BuildArgs {
		opts["build-arg:"+name] = value
	}
	// Arguments that the front end takes for itself are not the recipe's to say.
	opts["build-arg:BUILDKIT_CACHE_MOUNT_NS"], opts["build-arg:BUILDKIT_SANDBOX_HOSTNAME"] = d.CacheSpace, d.Hostname
	if d.Before != nil {
		inputs[llb.Before] = filled(d.Before)
		opts["context:"+llb.Before] = "input:" + llb.Before
		config, err := writeConfig(d.Config, arch(d.Arch))
		if err != nil {
			return gwclient.SolveRequest{}, err
		}
		opts["input-metadata:"+llb.Before] = config
	}
	defs := map[string]*pb.Definition{}
	for name, state := range inputs {
		def, err := state.Marshal(ctx, bk.Platform(ocispec.Platform{OS: "linux", Architecture: arch(d.Arch)}))
		if err != nil {
			return gwclient.SolveRequest{}, fault.New(fault.Internal, "dockerfile: %s: %w", name, err)
		}
		defs[name] = def.ToPB()
	}
	return gwclient.SolveRequest{Frontend: "dockerfile.v0", FrontendOpt: opts, FrontendInputs: defs}, nil
}

// filled returns a state that is no scratch, which can't be an input: in place of one, and of none, a layer without files.
func filled(s *bk.State) *bk.State {
	if s != nil && s.Output() != nil {
		return s
	}
	empty := bk.Scratch().File(bk.Mkdir("/", 0o755, bk.WithParents(true)))
	return &empty
}

func arch(a string) string {
	if a == "" {
		return "amd64"
	}
	return a
}

func writeConfig(c llb.Config, arch string) (string, error) {
	var image imageConfig
	image.OS, image.Architecture = "linux", arch
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		image.Config.Env = append(image.Config.Env, name+"="+c.Env[name])
	}
	image.Config.WorkingDir, image.Config.User = c.Workdir, c.User
	image.Config.Entrypoint, image.Config.Cmd, image.Config.Shell = c.Entrypoint, c.Cmd, c.Shell
	raw, err := json.Marshal(image)
	if err != nil {
		return "", fault.New(fault.Internal, "dockerfile: %w", err)
	}
	metadata, err := json.Marshal(map[string][]byte{exptypes.ExporterImageConfigKey: raw})
	if err != nil {
		return "", fault.New(fault.Internal, "dockerfile: %w", err)
	}
	return string(metadata), nil
}

func readConfig(raw []byte) (llb.Config, error) {
	var image imageConfig
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &image); err != nil {
			return llb.Config{}, fault.New(fault.Internal, "dockerfile: image configuration: %w", err)
		}
	}
	c := llb.Config{
		Env: map[string]string{}, Workdir: image.Config.WorkingDir, User: image.Config.User, Entrypoint: image.Config.Entrypoint,
		Cmd: image.Config.Cmd, Shell: image.Config.Shell,
	}
	for _, pair := range image.Config.Env {
		name, value, _ := strings.Cut(pair, "=")
		c.Env[name] = value
	}
	return c, nil
}

// explainDockerfile tells a Dockerfile that makes no sense from a daemon that is away.
func explainDockerfile(ctx context.Context, d llb.Dockerfile, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if code := status.Code(err); code == codes.Unavailable || errors.Is(err, context.Canceled) {
		return fault.New(fault.Unavailable, "buildkitd: %w", err)
	}
	text := err.Error()
	for _, wrapper := range []string{"rpc error: code = Unknown desc = ", "rpc error: code = InvalidArgument desc = "} {
		text = strings.TrimPrefix(text, wrapper)
	}
	return &build.FailedError{Step: readStep, Message: text, RecipeStep: d.RecipeStep}
}

// checkSources refuses what the daemon would fetch itself, outside of the network that steps are kept in, and commands that ask for the host.
func checkSources(ctx context.Context, d llb.Dockerfile, s bk.State) error {
	def, err := s.Marshal(ctx)
	if err != nil {
		return fault.New(fault.Internal, "dockerfile: %w", err)
	}
	for _, raw := range def.Def {
		var op pb.Op
		if err := op.UnmarshalVT(raw); err != nil {
			return fault.New(fault.Internal, "dockerfile: %w", err)
		}
		if what := asksForHost(op.GetExec()); what != "" {
			return &build.FailedError{Step: readStep, RecipeStep: d.RecipeStep, Message: "RUN " + what + ": build steps don't get that of the host"}
		}
		id := op.GetSource().GetIdentifier()
		scheme, _, _ := strings.Cut(id, "://")
		switch scheme {
		case "", "docker-image", "oci-layout", "local":
		default:
			return &build.FailedError{
				Step: readStep, RecipeStep: d.RecipeStep,
				Message: "ADD " + id + ": what ADD fetches would not be fetched by a build step; use RUN with curl or git",
			}
		}
	}
	return nil
}

// asksForHost is the flag with which a command asks for what no step gets; empty: with none.
func asksForHost(e *pb.ExecOp) string {
	switch {
	case e.GetNetwork() == pb.NetMode_HOST:
		return "--network=host"
	case e.GetSecurity() == pb.SecurityMode_INSECURE:
		return "--security=insecure"
	case len(e.GetCdiDevices()) > 0:
		return "--device"
	}
	return ""
}
