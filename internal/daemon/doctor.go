package daemon

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/skerry-dev/skerry/internal/config"
)

// finding is what doctor says of one requirement.
type finding struct {
	name, detail, fix string
	state             state
}

type state int

const (
	ok state = iota
	advice
	lacking
)

func (c *command) doctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "List what this machine has and lacks",
		Long: `Check each thing that skerryd up needs of this machine, and say how to get what is missing.
Nothing is changed. The exit code is 1 if something needed is missing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			return c.show(examine(cfg))
		},
	}
	c.bind(cmd, "data", "run", "bases", "listen", "runsc", "buildkitd", "buildkit", "guest", "build_runtime")
	return cmd
}

// examine checks everything in the order in which a reader would mend it.
func examine(cfg config.Config) []finding {
	var all []finding
	for _, check := range []func(config.Config) []finding{
		checkUser, checkKernel, checkCgroups, checkNetwork, checkPrograms, checkBuildTools, checkBases, checkDisk, checkPort,
	} {
		all = append(all, check(cfg)...)
	}
	return all
}

// show prints the findings and returns an error if something needed is missing.
func (c *command) show(findings []finding) error {
	marks := map[state]string{ok: "ok", advice: "note", lacking: "missing"}
	colours := map[state]string{ok: "\x1b[32m", advice: "\x1b[33m", lacking: "\x1b[31m"}
	reset := "\x1b[0m"
	if f, isFile := c.out.(interface{ Fd() uintptr }); !isFile || !term.IsTerminal(int(f.Fd())) {
		colours, reset = map[state]string{}, ""
	}
	width, missing := 0, 0
	for _, f := range findings {
		width = max(width, len(f.name))
	}
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%s%-7s%s  %-*s  %s\n", colours[f.state], marks[f.state], reset, width, f.name, f.detail)
		if f.fix != "" && f.state != ok {
			fmt.Fprintf(&b, "         %-*s  -> %s\n", width, "", f.fix)
		}
		if f.state == lacking {
			missing++
		}
	}
	if missing == 0 {
		b.WriteString("\nThis machine has all that skerryd up needs.\n")
	} else {
		fmt.Fprintf(&b, "\n%d of %d are missing.\n", missing, len(findings))
	}
	if _, err := fmt.Fprint(c.out, b.String()); err != nil {
		return err
	}
	if missing > 0 {
		return errReported
	}
	return nil
}

// verdict is a finding that is either there or not.
func verdict(name string, there bool, detail, fix string) finding {
	f := finding{name: name, detail: detail, fix: fix}
	if !there {
		f.state = lacking
	}
	return f
}
