package recipe

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// MaxTimeout is the longest that a build function may take, in seconds.
const MaxTimeout = 24 * 60 * 60

func (a *AptInstall) validate() error {
	return validatePackages(a.Packages, func(p string) error {
		if !aptPackage.MatchString(p) {
			return fault.New(fault.Invalid, "debian package %q: want a name such as \"git\" or \"git=1:2.39.5-0+deb12u2\"", clip(p))
		}
		return nil
	})
}

func (a *RunCommands) validate() error { return validateCommands(a.Commands) }

func (a *RunFunction) validate() error {
	if a.Name == "" || len(a.Name) > 1000 || !utf8.ValidString(a.Name) || strings.ContainsAny(a.Name, "\n\r\x00") {
		return fault.New(fault.Invalid, "build function %q: want a name of one line", clip(a.Name))
	}
	if a.Timeout == 0 || a.Timeout > MaxTimeout {
		return fault.New(fault.Invalid, "build function: timeout of %d s: want 1 to %d", a.Timeout, MaxTimeout)
	}
	return errors.Join(ident.CheckDigest(a.Definition), validateTree(a.Payload, false))
}

func (a *DockerfileCommands) validate() error {
	return errors.Join(validateInstructions(a.Commands), validateTree(a.Context, true), validateEnv(a.BuildArgs))
}

// validateInstructions checks Dockerfile commands. What they say is the front end's to check.
func validateInstructions(commands []string) error {
	size := 0
	for _, c := range commands {
		if size += len(c); size > MaxDockerfile {
			return fault.New(fault.Invalid, "dockerfile commands: are longer than %d bytes", MaxDockerfile)
		}
	}
	return validateCommands(commands)
}

func (a *Env) validate() error { return validateEnv(a.Variables) }

func (a *Workdir) validate() error { return validatePath("workdir", a.Path) }

func (a *Entrypoint) validate() error { return validateWords("entrypoint", a.Command, true) }

func (a *Shell) validate() error { return validateWords("shell", a.Command, false) }

func (a *Cmd) validate() error { return validateWords("cmd", a.Command, true) }

func (a *AddLocal) validate() error {
	return errors.Join(ident.CheckDigest(a.TreeDigest), validatePath("remote path", a.RemotePath))
}
