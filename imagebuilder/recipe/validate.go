package recipe

import (
	"errors"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Limits of recipes.
const (
	// MaxSteps is how many steps a recipe has at most.
	MaxSteps = 200
	// MaxItems is how many packages, commands or variables a step has at most.
	MaxItems = 1000
	// MaxCommand is the longest command, in bytes; the kernel takes 128 KiB as one argument.
	MaxCommand = 100_000
	// MaxText is the longest package, path, option, name or value, in bytes.
	MaxText = 32_000
)

var (
	series     = regexp.MustCompile(`^3\.[0-9]{1,2}$`)
	variable   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	aptPackage = regexp.MustCompile(`^[a-z0-9][a-z0-9+.\-]*(:[a-z0-9\-]+)?(=[A-Za-z0-9.+:~\-]+|/[A-Za-z0-9.\-]+)?$`)
	uvVersion  = regexp.MustCompile(`^([0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.]*)?$`)
)

// Validate returns a fault.Invalid that says what is wrong with the recipe and in which step, or nil.
func Validate(r Recipe) error {
	if !series.MatchString(r.Base.Python) {
		return fault.New(fault.Invalid, "python version %q: want a series such as \"3.11\"", clip(r.Base.Python))
	}
	if len(r.Steps) > MaxSteps {
		return fault.New(fault.Invalid, "image: has %d steps, at most %d are allowed; join some", len(r.Steps), MaxSteps)
	}
	for i, s := range r.Steps {
		if s.Action == nil {
			return fault.New(fault.Invalid, "image step %d: says nothing to do", i+1)
		}
		if err := errors.Join(s.Action.validate(), validateEnv(s.BuildEnv)); err != nil {
			return fault.New(fault.Invalid, "image step %d: %w", i+1, err)
		}
	}
	return nil
}

func validateEnv(env map[string]string) error {
	if len(env) > MaxItems {
		return fault.New(fault.Invalid, "has %d variables, at most %d are allowed", len(env), MaxItems)
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !variable.MatchString(name) {
			return fault.New(fault.Invalid, "environment variable %q: want letters, digits and '_', not beginning with a digit", clip(name))
		}
		if err := validateText("environment variable "+name, env[name]); err != nil {
			return err
		}
	}
	return nil
}

// validateText refuses what no argument, path or variable may hold.
func validateText(noun, s string) error {
	if len(s) > MaxText {
		return fault.New(fault.Invalid, "%s: is %d bytes long, at most %d are allowed", noun, len(s), MaxText)
	}
	if strings.ContainsRune(s, 0) {
		return fault.New(fault.Invalid, "%s: holds a NUL byte", noun)
	}
	return nil
}

func validatePackages(packages []string, check func(string) error) error {
	if len(packages) > MaxItems {
		return fault.New(fault.Invalid, "has %d packages, at most %d are allowed", len(packages), MaxItems)
	}
	for _, p := range packages {
		if err := validateText("package", p); err != nil {
			return err
		}
		if strings.TrimSpace(p) == "" {
			return fault.New(fault.Invalid, "package: is empty")
		}
		if strings.HasPrefix(p, "-") {
			return fault.New(fault.Invalid, "package %q: begins with '-'; options go into extra_options", clip(p))
		}
		if strings.ContainsAny(p, "\n\r") {
			return fault.New(fault.Invalid, "package %q: holds a line break", clip(p))
		}
		if err := check(p); err != nil {
			return err
		}
	}
	return nil
}

func anyPackage(string) error { return nil }

func (i Index) validate() error {
	for noun, s := range map[string]string{"find_links": i.FindLinks, "index_url": i.IndexURL, "extra_index_url": i.ExtraIndexURL} {
		if err := validateText(noun, s); err != nil {
			return err
		}
		if strings.HasPrefix(s, "-") {
			return fault.New(fault.Invalid, "%s %q: begins with '-'", noun, clip(s))
		}
	}
	if strings.ContainsAny(i.Options, "\n\r") {
		return fault.New(fault.Invalid, "extra_options: holds a line break")
	}
	return validateText("extra_options", i.Options)
}

func (a *PipInstall) validate() error {
	return errors.Join(validatePackages(a.Packages, anyPackage), a.Index.validate())
}

func (a *UvPipInstall) validate() error {
	if !uvVersion.MatchString(a.Version) {
		return fault.New(fault.Invalid, "uv_version %q: want a version such as \"0.13.9\"", clip(a.Version))
	}
	return errors.Join(validatePackages(a.Packages, anyPackage), a.Index.validate())
}

func (a *AptInstall) validate() error {
	return validatePackages(a.Packages, func(p string) error {
		if !aptPackage.MatchString(p) {
			return fault.New(fault.Invalid, "debian package %q: want a name such as \"git\" or \"git=1:2.39.5-0+deb12u2\"", clip(p))
		}
		return nil
	})
}

func (a *RunCommands) validate() error {
	if len(a.Commands) > MaxItems {
		return fault.New(fault.Invalid, "has %d commands, at most %d are allowed", len(a.Commands), MaxItems)
	}
	for _, c := range a.Commands {
		switch {
		case strings.TrimSpace(c) == "":
			return fault.New(fault.Invalid, "command: is empty")
		case len(c) > MaxCommand:
			return fault.New(fault.Invalid, "command: is %d bytes long, at most %d are allowed; put it into a file and add that", len(c), MaxCommand)
		case strings.ContainsRune(c, 0):
			return fault.New(fault.Invalid, "command: holds a NUL byte")
		}
	}
	return nil
}

func (a *Env) validate() error { return validateEnv(a.Variables) }

func (a *Workdir) validate() error { return validatePath("workdir", a.Path) }

func (a *AddLocal) validate() error {
	return errors.Join(ident.CheckDigest(a.TreeDigest), validatePath("remote path", a.RemotePath))
}

func validatePath(noun, p string) error {
	if err := validateText(noun, p); err != nil {
		return err
	}
	if !path.IsAbs(p) || path.Clean(p) != p {
		return fault.New(fault.Invalid, "%s %q: want an absolute path without '..', '//' or a '/' at its end", noun, clip(p))
	}
	if p == "/proc" || p == "/sys" || p == "/dev" || strings.HasPrefix(p, "/proc/") || strings.HasPrefix(p, "/sys/") ||
		strings.HasPrefix(p, "/dev/") {
		return fault.New(fault.Invalid, "%s %q: is not part of an image", noun, clip(p))
	}
	return nil
}

// clip keeps a refused text short enough for a message.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}
