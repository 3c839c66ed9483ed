package recipe

import "slices"

// Index says where pip-like installers find packages, and how.
type Index struct {
	// FindLinks, IndexURL and ExtraIndexURL are the options of those names; empty: not given.
	FindLinks, IndexURL, ExtraIndexURL string
	// Pre allows pre-releases.
	Pre bool
	// Options is more options, as a shell would split them.
	Options string
}

// PipInstall installs Python packages with pip.
type PipInstall struct {
	// Packages are requirements, such as "numpy>=2".
	Packages []string
	// Index says where from.
	Index Index
}

// PipRequirements installs what a requirements file names with pip.
type PipRequirements struct {
	// Tree is the file.
	Tree string
	// Index says where from.
	Index Index
}

// PipPrivateRepos installs Python packages of private git repositories with pip.
type PipPrivateRepos struct {
	// Repositories are such as "github.com/owner/name@main".
	Repositories []string
	// GitUser is whom the token belongs to, which is the variable GITHUB_TOKEN or GITLAB_TOKEN of the step's secrets.
	GitUser string
	// Index says where from.
	Index Index
}

// UvPipInstall installs Python packages with uv, which is not left in the image.
type UvPipInstall struct {
	// Packages are requirements.
	Packages []string
	// Tree has requirements files, which Files name in order; empty: none.
	Tree  string
	Files []string
	// Index says where from.
	Index Index
	// Version is uv's; empty: the builder's default.
	Version string
}

// UvSync installs the dependencies of a uv project into a virtual environment at /.uv/.venv.
type UvSync struct {
	// Tree has pyproject.toml, and uv.lock if Locked.
	Tree   string
	Locked bool
	// Groups and Extras are what else to install.
	Groups, Extras []string
	// Frozen takes the lock as it is.
	Frozen bool
	// Options is more options, as a shell would split them.
	Options string
	// Version is uv's; empty: the builder's default.
	Version string
}

// PoetryInstall installs the dependencies of a Poetry project into the image's Python.
type PoetryInstall struct {
	// Tree has pyproject.toml, and poetry.lock unless it is to be ignored.
	Tree string
	// With, Without and Only are groups.
	With, Without, Only []string
	// Version is Poetry's; "latest": the newest; empty: the one that the image has.
	Version string
	// OldInstaller uses that of old versions.
	OldInstaller bool
}

// MicromambaInstall installs conda packages with micromamba.
type MicromambaInstall struct {
	// Packages are specifications.
	Packages []string
	// Channels are where to look.
	Channels []string
	// Tree has a spec file, which File names; empty: none.
	Tree, File string
}

func (a *PipInstall) canonical() Action {
	if len(a.Packages) == 0 {
		return nil
	}
	return &PipInstall{Packages: sorted(a.Packages), Index: a.Index}
}

func (a *PipRequirements) canonical() Action { c := *a; return &c }

func (a *PipRequirements) trees() []string { return []string{a.Tree} }

func (a *PipPrivateRepos) canonical() Action {
	if len(a.Repositories) == 0 {
		return nil
	}
	return &PipPrivateRepos{Repositories: sorted(a.Repositories), GitUser: a.GitUser, Index: a.Index}
}

func (a *UvPipInstall) canonical() Action {
	if len(a.Packages) == 0 && len(a.Files) == 0 {
		return nil
	}
	c := *a
	c.Packages, c.Files = sorted(a.Packages), slices.Clone(a.Files)
	return &c
}

func (a *UvPipInstall) trees() []string { return []string{a.Tree} }

func (a *UvSync) canonical() Action {
	c := *a
	c.Groups, c.Extras = sorted(a.Groups), sorted(a.Extras)
	return &c
}

func (a *UvSync) trees() []string { return []string{a.Tree} }

func (a *PoetryInstall) canonical() Action {
	c := *a
	c.With, c.Without, c.Only = sorted(a.With), sorted(a.Without), sorted(a.Only)
	return &c
}

func (a *PoetryInstall) trees() []string { return []string{a.Tree} }

func (a *MicromambaInstall) canonical() Action {
	if len(a.Packages) == 0 && a.File == "" {
		return nil
	}
	c := *a
	// The order of channels is their priority.
	c.Packages, c.Channels = sorted(a.Packages), slices.Clone(a.Channels)
	return &c
}

func (a *MicromambaInstall) trees() []string { return []string{a.Tree} }

func (*PipInstall) trees() []string      { return nil }
func (*PipPrivateRepos) trees() []string { return nil }
