package recipe

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Source is where an image starts: one of *DebianSlim, *Registry, *Scratch, *Micromamba, *Dockerfile and *Existing.
type Source interface {
	validate() error
	canonical() Source
	trees() []string
}

// DebianSlim is Debian with a Python series.
type DebianSlim struct {
	// Python is the series, such as "3.11".
	Python string
}

// Credentials says how a registry is logged in to; the numbers are those of skerry.v1.RegistryCredentials.
type Credentials uint8

// How registries are logged in to, and the variables that the base's secret then has.
const (
	// Anonymous needs none.
	Anonymous Credentials = 0
	// Static needs REGISTRY_USERNAME and REGISTRY_PASSWORD.
	Static Credentials = 1
	// AWS needs AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION; AWS_SESSION_TOKEN and AWS_ROLE_ARN where wanted.
	AWS Credentials = 2
	// GCP needs SERVICE_ACCOUNT_JSON.
	GCP Credentials = 3
)

// Registry is an image of a registry.
type Registry struct {
	// Reference is what docker pull takes.
	Reference string
	// Credentials says how the registry is logged in to.
	Credentials Credentials
	// AddPython is a series to put to /usr/local, such as "3.12" or "3.14t"; empty: none.
	AddPython string
	// Setup is Dockerfile commands to run before anything else.
	Setup []string
}

// Scratch is an empty file system.
type Scratch struct{}

// Micromamba is Debian with micromamba and Python in its base environment.
type Micromamba struct {
	// Python is the series, such as "3.11".
	Python string
}

// Dockerfile is what a Dockerfile says.
type Dockerfile struct {
	// Text is the Dockerfile.
	Text string
	// Context names the tree with what it copies; empty: nothing.
	Context string
	// BuildArgs are the values of its ARGs.
	BuildArgs map[string]string
	// AddPython is as in Registry.
	AddPython string
	// BuildEnv, Secrets and GPU are as in Step.
	BuildEnv map[string]string
	Secrets  []string
	GPU      string
}

// Existing is an image that is there.
type Existing struct {
	// File is its file: the digest of its manifest if Chunked, else of the file; the size of the file.
	File    payload.Ref
	Chunked bool
	// Env, Workdir, Entrypoint and Cmd are those of its containers; Shell and User are how later steps run. All may be empty.
	Env                    map[string]string
	Workdir                string
	Entrypoint, Cmd, Shell []string
	User                   string
}

// MaxDockerfile is the longest Dockerfile, in bytes.
const MaxDockerfile = 1 << 20

var (
	series    = regexp.MustCompile(`^3\.[0-9]{1,2}$`)
	addSeries = regexp.MustCompile(`^(3\.[0-9]{1,2}t?)?$`)
	// reference is what registries allow: a host with an optional port, path components, a tag, a digest.
	reference = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?::[0-9]{1,5}/[a-z0-9][a-z0-9._-]*)?(?:/[a-z0-9][a-z0-9._-]*)*` +
		`(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$`)
)

func validateSeries(python string) error {
	if !series.MatchString(python) {
		return fault.New(fault.Invalid, "python version %q: want a series such as \"3.11\"", clip(python))
	}
	return nil
}

func (s *DebianSlim) validate() error   { return validateSeries(s.Python) }
func (s *DebianSlim) canonical() Source { return &DebianSlim{Python: s.Python} }

func (s *Micromamba) validate() error   { return validateSeries(s.Python) }
func (s *Micromamba) canonical() Source { return &Micromamba{Python: s.Python} }

func (s *Scratch) validate() error   { return nil }
func (s *Scratch) canonical() Source { return &Scratch{} }

// What an image that is there says of itself was checked when it was built.
func (s *Existing) validate() error { return ident.CheckDigest(s.File.Digest) }

func (s *Existing) canonical() Source {
	c := *s
	c.Env, c.Entrypoint, c.Cmd, c.Shell = cloned(s.Env), slices.Clone(s.Entrypoint), slices.Clone(s.Cmd), slices.Clone(s.Shell)
	return &c
}

func (s *Registry) validate() error {
	if len(s.Reference) > 512 || !reference.MatchString(s.Reference) {
		return fault.New(fault.Invalid, "image reference %q: want one such as \"debian:bookworm-slim\"", clip(s.Reference))
	}
	if s.Credentials > GCP {
		return fault.New(fault.Invalid, "credentials of kind %d: are not known; update the builder", s.Credentials)
	}
	return errors.Join(validateAddPython(s.AddPython), validateInstructions(s.Setup))
}

func (s *Registry) canonical() Source {
	c := *s
	c.Setup = slices.Clone(s.Setup)
	return &c
}

func (s *Dockerfile) validate() error {
	switch {
	case strings.TrimSpace(s.Text) == "":
		return fault.New(fault.Invalid, "dockerfile: is empty")
	case len(s.Text) > MaxDockerfile:
		return fault.New(fault.Invalid, "dockerfile: is %d bytes long, at most %d are allowed", len(s.Text), MaxDockerfile)
	case strings.ContainsRune(s.Text, 0):
		return fault.New(fault.Invalid, "dockerfile: holds a NUL byte")
	}
	return errors.Join(validateTree(s.Context, true), validateEnv(s.BuildArgs), validateAddPython(s.AddPython),
		validateEnv(s.BuildEnv), validateNames(s.Secrets), validateGPU(s.GPU))
}

func (s *Dockerfile) canonical() Source {
	c := *s
	c.BuildArgs, c.BuildEnv, c.Secrets = cloned(s.BuildArgs), cloned(s.BuildEnv), sorted(s.Secrets)
	return &c
}

func (s *Dockerfile) trees() []string { return []string{s.Context} }

func validateAddPython(python string) error {
	if !addSeries.MatchString(python) {
		return fault.New(fault.Invalid, "add_python %q: want a series such as \"3.12\" or \"3.14t\"", clip(python))
	}
	return nil
}

// validateTree checks the digest of a tree, which may be missing where it is optional.
func validateTree(digest string, optional bool) error {
	if digest == "" && optional {
		return nil
	}
	return ident.CheckDigest(digest)
}

func (*DebianSlim) trees() []string { return nil }
func (*Registry) trees() []string   { return nil }
func (*Existing) trees() []string   { return nil }
func (*Scratch) trees() []string    { return nil }
func (*Micromamba) trees() []string { return nil }
