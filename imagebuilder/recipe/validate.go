package recipe

import (
	"errors"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
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
	variable   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	aptPackage = regexp.MustCompile(`^[a-z0-9][a-z0-9+.\-]*(:[a-z0-9\-]+)?(=[A-Za-z0-9.+:~\-]+|/[A-Za-z0-9.\-]+)?$`)
	gpu        = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!:._-]{0,63}$`)
)

// Validate returns a fault.Invalid that says what is wrong with the recipe and in which step, or nil.
func Validate(r Recipe) error {
	if r.Base.From == nil {
		return fault.New(fault.Invalid, "image: says nothing to start from")
	}
	if err := r.Base.From.validate(); err != nil {
		return fault.New(fault.Invalid, "image base: %w", err)
	}
	if len(r.Steps) > MaxSteps {
		return fault.New(fault.Invalid, "image: has %d steps, at most %d are allowed; join some", len(r.Steps), MaxSteps)
	}
	for i, s := range r.Steps {
		if s.Action == nil {
			return fault.New(fault.Invalid, "image step %d: says nothing to do", i+1)
		}
		if err := errors.Join(s.Action.validate(), validateEnv(s.BuildEnv), validateNames(s.Secrets), validateGPU(s.GPU), s.validateVolumes()); err != nil {
			return fault.New(fault.Invalid, "image step %d: %w", i+1, err)
		}
	}
	return nil
}

func validateGPU(s string) error {
	if s != "" && !gpu.MatchString(s) {
		return fault.New(fault.Invalid, "gpu %q: want a name such as \"T4\" or \"H100:2\"", clip(s))
	}
	return nil
}

// validateNames checks the names of variables that come from secrets.
func validateNames(names []string) error {
	if len(names) > MaxItems {
		return fault.New(fault.Invalid, "has %d secret variables, at most %d are allowed", len(names), MaxItems)
	}
	for _, name := range names {
		if !variable.MatchString(name) {
			return fault.New(fault.Invalid, "secret variable %q: want letters, digits and '_', not beginning with a digit", clip(name))
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

// validateWords checks the words of a command; none is allowed where optional says so.
func validateWords(noun string, words []string, optional bool) error {
	if len(words) == 0 && !optional {
		return fault.New(fault.Invalid, "%s: has no words", noun)
	}
	if len(words) > MaxItems {
		return fault.New(fault.Invalid, "%s: has %d words, at most %d are allowed", noun, len(words), MaxItems)
	}
	for _, w := range words {
		if err := validateText(noun, w); err != nil {
			return err
		}
	}
	return nil
}

// validateCommands checks what a shell or a Dockerfile runs.
func validateCommands(commands []string) error {
	if len(commands) > MaxItems {
		return fault.New(fault.Invalid, "has %d commands, at most %d are allowed", len(commands), MaxItems)
	}
	for _, c := range commands {
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
