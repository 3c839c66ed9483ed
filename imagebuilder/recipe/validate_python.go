package recipe

import (
	"errors"
	"path"
	"regexp"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
)

var (
	uvVersion     = regexp.MustCompile(`^([0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.]*)?$`)
	poetryVersion = regexp.MustCompile(`^(latest|[0-9]+(\.[0-9]+){0,2}[0-9A-Za-z.]*)?$`)
	// repository is host, owner, name and what to check out. Nothing of it means anything to a shell or a URL.
	repository = regexp.MustCompile(`^(github|gitlab)\.com(/[A-Za-z0-9_.-]+){2,10}(@[A-Za-z0-9_./-]+)?(#[A-Za-z0-9_=&./-]+)?$`)
	gitUser    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)
	group      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)
	channel    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:/~@%+-]{0,499}$`)
)

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

// matching returns a check that refuses what a pattern does not match.
func matching(noun string, pattern *regexp.Regexp, example string) func(string) error {
	return func(s string) error {
		if !pattern.MatchString(s) {
			return fault.New(fault.Invalid, "%s %q: want one such as %q", noun, clip(s), example)
		}
		return nil
	}
}

func (i Index) validate() error {
	for _, o := range []struct{ noun, value string }{
		{"find_links", i.FindLinks}, {"index_url", i.IndexURL}, {"extra_index_url", i.ExtraIndexURL},
	} {
		if err := validateText(o.noun, o.value); err != nil {
			return err
		}
		if strings.HasPrefix(o.value, "-") {
			return fault.New(fault.Invalid, "%s %q: begins with '-'", o.noun, clip(o.value))
		}
	}
	return validateOptions(i.Options)
}

func validateOptions(options string) error {
	if strings.ContainsAny(options, "\n\r") {
		return fault.New(fault.Invalid, "extra_options: holds a line break")
	}
	return validateText("extra_options", options)
}

func validateUvVersion(version string) error {
	return matching("uv_version", uvVersion, "0.13.9")(version)
}

// validateFiles checks the names of files in a tree, which there is if there are names.
func validateFiles(tree string, names ...string) error {
	if len(names) > MaxItems {
		return fault.New(fault.Invalid, "has %d files, at most %d are allowed", len(names), MaxItems)
	}
	for _, n := range names {
		if n == "" || len(n) > 255 || n != path.Base(n) || n == "." || n == ".." || strings.ContainsRune(n, 0) {
			return fault.New(fault.Invalid, "file %q: want a plain name", clip(n))
		}
	}
	return validateTree(tree, len(names) == 0)
}

func (a *PipInstall) validate() error {
	return errors.Join(validatePackages(a.Packages, anyPackage), a.Index.validate())
}

func (a *PipRequirements) validate() error {
	return errors.Join(validateTree(a.Tree, false), a.Index.validate())
}

func (a *PipPrivateRepos) validate() error {
	return errors.Join(
		validatePackages(a.Repositories, matching("repository", repository, "github.com/owner/name@main")),
		matching("git_user", gitUser, "octocat")(a.GitUser), a.Index.validate())
}

func (a *UvPipInstall) validate() error {
	return errors.Join(validatePackages(a.Packages, anyPackage), validateFiles(a.Tree, a.Files...), a.Index.validate(),
		validateUvVersion(a.Version))
}

func (a *UvSync) validate() error {
	return errors.Join(validateTree(a.Tree, false), validateGroups(a.Groups), validateGroups(a.Extras), validateOptions(a.Options),
		validateUvVersion(a.Version))
}

func (a *PoetryInstall) validate() error {
	return errors.Join(validateTree(a.Tree, false), validateGroups(a.With), validateGroups(a.Without), validateGroups(a.Only),
		matching("poetry_version", poetryVersion, "1.8.5")(a.Version))
}

func validateGroups(groups []string) error {
	return validatePackages(groups, matching("group", group, "dev"))
}

func (a *MicromambaInstall) validate() error {
	if a.File != "" {
		if err := validateFiles(a.Tree, a.File); err != nil {
			return err
		}
	}
	return errors.Join(validateTree(a.Tree, a.File == ""), validatePackages(a.Packages, anyPackage),
		validatePackages(a.Channels, matching("channel", channel, "conda-forge")))
}
