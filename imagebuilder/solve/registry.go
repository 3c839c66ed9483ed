package solve

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/login"
	"github.com/skerry-dev/skerry/internal/fault"
)

// RegistryImage is an image of a registry as it is now.
type RegistryImage struct {
	// Reference names it by its digest.
	Reference string
	// Config is what its containers run with.
	Config ocispec.ImageConfig
}

// Resolve asks an image's registry what its reference stands for on a platform such as "linux/amd64". Errors: fault.Invalid for a reference
// that is none; *build.FailedError where the registry does not have the image or refuses the login; fault.Unavailable.
func (d *Daemon) Resolve(ctx context.Context, name string, arch string, l login.Credentials) (im *RegistryImage, err error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "image reference %q: %w", name, err)
	}
	named = reference.TagNameOnly(named)
	err = d.retry(ctx, func() (*serving, error) {
		now, rerr := d.resolve(ctx, named, arch, l, &im)
		return now, rerr
	})
	return im, err
}

func (d *Daemon) resolve(ctx context.Context, named reference.Named, arch string, l login.Credentials, im **RegistryImage) (*serving, error) {
	c, now, err := d.connect(ctx)
	if err != nil {
		return now, err
	}
	defer func() { _ = c.Close() }() // nothing was written
	platform := ocispec.Platform{OS: "linux", Architecture: arch}
	opt := client.SolveOpt{Session: []session.Attachable{loginTo(named, l)}}
	_, err = c.Build(ctx, opt, "", func(ctx context.Context, g gateway.Client) (*gateway.Result, error) {
		_, digest, config, err := g.ResolveImageConfig(ctx, named.String(), sourceresolver.Opt{
			LogName: "resolve " + named.String(), ImageOpt: &sourceresolver.ResolveImageOpt{Platform: &platform},
		})
		if err != nil {
			return nil, err
		}
		var spec ocispec.Image
		if err := json.Unmarshal(config, &spec); err != nil {
			return nil, fmt.Errorf("configuration of %s: %w", named, err)
		}
		digested, err := reference.WithDigest(reference.TrimNamed(named), digest)
		if err != nil {
			return nil, err
		}
		*im = &RegistryImage{Reference: digested.String(), Config: spec.Config}
		return gateway.NewResult(), nil
	}, nil)
	if err != nil && ctx.Err() != nil {
		return now, context.Cause(ctx)
	}
	return now, refusal(named, l, err)
}

// refusal says in words what a registry answered.
func refusal(named reference.Named, l login.Credentials, err error) error {
	if err == nil {
		return nil
	}
	text, host := err.Error(), reference.Domain(named)
	contains := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	f := &build.FailedError{Step: "base " + reference.FamiliarString(named)}
	switch {
	case contains("401", "403", "failed to authorize", "authorization failed", "access denied") && l == (login.Credentials{}):
		f.Message = fmt.Sprintf("registry %s does not give this image without a login; pass secret= with the registry's credentials", host)
	case contains("401", "403", "failed to authorize", "authorization failed", "access denied"):
		f.Message = fmt.Sprintf("registry %s refuses the login of user %q; check the secret", host, l.User)
	case contains("not found", "no match for platform"):
		f.Message = fmt.Sprintf("registry %s has no such image for this platform: %s", host, lastLine(text))
	case contains("dial tcp", "no such host", "i/o timeout", "connection refused", "server gave HTTP response", "tls:", "x509:"):
		f.Message = fmt.Sprintf("registry %s can't be reached: %s", host, lastLine(text))
	default:
		return fault.New(fault.Unavailable, "buildkitd: %w", err)
	}
	return f
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// registryAuth gives BuildKit a login for one registry, for the time of one solve.
type registryAuth struct {
	auth.UnimplementedAuthServer // BuildKit then fetches tokens by itself
	host                         string
	login                        login.Credentials
}

func loginTo(named reference.Named, l login.Credentials) *registryAuth {
	return &registryAuth{host: reference.Domain(named), login: l}
}

// Register implements session.Attachable.
func (a *registryAuth) Register(s *grpc.Server) { auth.RegisterAuthServer(s, a) }

// Credentials answers for the registry's own host: neither a mirror nor where it redirects to is to hear of them.
func (a *registryAuth) Credentials(_ context.Context, r *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	host, err := docker.DefaultHost(a.host)
	if err != nil || r.GetHost() != a.host && r.GetHost() != host {
		return &auth.CredentialsResponse{}, nil //nolint:nilerr // a host without a login is no error
	}
	return &auth.CredentialsResponse{Username: a.login.User, Secret: a.login.Password}, nil
}
