package recipe

import "slices"

// AptInstall installs Debian packages.
type AptInstall struct {
	// Packages are names, with "=version" where wanted.
	Packages []string
}

// RunCommands runs shell commands, a layer each.
type RunCommands struct {
	// Commands go to the image's shell, /bin/sh -c unless a Shell step came before.
	Commands []string
}

// RunFunction runs a Python function and keeps what it leaves in the file system.
type RunFunction struct {
	// Name is for people.
	Name string
	// Definition says by its digest whether the function has to run again.
	Definition string
	// Payload is the tree with what is to be run. It is not part of what says whether to run it.
	Payload string
	// Timeout is the most seconds that it may take.
	Timeout uint32
	// MilliCPU and MemoryMiB are what it asks for; 0: no more than others.
	MilliCPU, MemoryMiB uint32
}

// DockerfileCommands are Dockerfile commands on what is there.
type DockerfileCommands struct {
	// Commands are whole lines.
	Commands []string
	// Context names the tree with what they copy; empty: nothing.
	Context string
	// BuildArgs are the values of their ARGs.
	BuildArgs map[string]string
}

// Env sets environment variables for later steps and containers.
type Env struct {
	// Variables are names and values.
	Variables map[string]string
}

// Workdir sets the working directory for later steps and containers.
type Workdir struct {
	// Path is absolute.
	Path string
}

// Entrypoint sets the command that containers' commands become arguments of.
type Entrypoint struct {
	// Command is its words; none: no entrypoint.
	Command []string
}

// Shell sets the shell of later commands.
type Shell struct {
	// Command is its words, such as "/bin/bash" and "-c".
	Command []string
}

// Cmd sets what containers run that are not told what to.
type Cmd struct {
	// Command is its words; none: nothing.
	Command []string
}

// AddLocal copies a tree of local files into the image.
type AddLocal struct {
	// TreeDigest names the tree.
	TreeDigest string
	// RemotePath is the absolute path that the tree becomes.
	RemotePath string
}

func (a *AptInstall) canonical() Action {
	if len(a.Packages) == 0 {
		return nil
	}
	return &AptInstall{Packages: sorted(a.Packages)}
}

func (a *RunCommands) canonical() Action {
	if len(a.Commands) == 0 {
		return nil
	}
	return &RunCommands{Commands: slices.Clone(a.Commands)}
}

func (a *RunFunction) canonical() Action { c := *a; return &c }

func (a *RunFunction) trees() []string { return []string{a.Payload} }

func (a *DockerfileCommands) canonical() Action {
	if len(a.Commands) == 0 {
		return nil
	}
	return &DockerfileCommands{Commands: slices.Clone(a.Commands), Context: a.Context, BuildArgs: cloned(a.BuildArgs)}
}

func (a *DockerfileCommands) trees() []string { return []string{a.Context} }

func (a *Env) canonical() Action {
	if len(a.Variables) == 0 {
		return nil
	}
	return &Env{Variables: cloned(a.Variables)}
}

func (a *Workdir) canonical() Action { return &Workdir{Path: a.Path} }

func (a *Entrypoint) canonical() Action { return &Entrypoint{Command: slices.Clone(a.Command)} }

func (a *Shell) canonical() Action { return &Shell{Command: slices.Clone(a.Command)} }

func (a *Cmd) canonical() Action { return &Cmd{Command: slices.Clone(a.Command)} }

func (a *AddLocal) canonical() Action {
	return &AddLocal{TreeDigest: a.TreeDigest, RemotePath: a.RemotePath}
}

func (a *AddLocal) trees() []string { return []string{a.TreeDigest} }

func (*AptInstall) trees() []string  { return nil }
func (*RunCommands) trees() []string { return nil }
func (*Env) trees() []string         { return nil }
func (*Workdir) trees() []string     { return nil }
func (*Entrypoint) trees() []string  { return nil }
func (*Shell) trees() []string       { return nil }
func (*Cmd) trees() []string         { return nil }
