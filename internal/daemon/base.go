package daemon

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/imagebuilder/base"
	"github.com/skerry-dev/skerry/internal/config"
)

// DefaultSeries is the Python series that skerryd base prepare makes a base for.
const DefaultSeries = "3.11"

func (c *command) base() *cobra.Command {
	cmd := &cobra.Command{Use: "base", Short: "Prepare what images start from", Args: cobra.NoArgs}
	cmd.AddCommand(c.basePrepare())
	return cmd
}

func (c *command) basePrepare() *cobra.Command {
	series := DefaultSeries
	cmd := &cobra.Command{
		Use:   "prepare",
		Short: "Make the base image of a Python series, if it is missing",
		Long: `Make the Debian with Python that images of a series start from, in the folder of base
images, which all skerryds of this machine share. It takes about two minutes once, and
nothing when the base is there. The first build of an image makes it too.`,
		Example: "  skerryd base prepare --python 3.11",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			provider := newBases(cfg)
			im, err := provider.Prepare(cmd.Context(), series, func(line string) { _, _ = fmt.Fprintln(c.err, line) })
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "%s is in %s\n", im.Name, im.Dir)
			return err
		},
	}
	cmd.Flags().StringVar(&series, "python", series, "Python series")
	c.bind(cmd, "bases", "debian_mirror", "debian_security_mirror", "ca_bundle")
	return cmd
}

func newBases(cfg config.Config) base.Provider {
	bundle := cfg.CABundle
	if bundle == "none" {
		bundle = ""
	}
	return base.NewDebian(base.DebianConfig{
		Dir: cfg.Bases, Mirror: cfg.DebianMirror, SecurityMirror: cfg.DebianSecurityMirror, CABundle: bundle,
	})
}
