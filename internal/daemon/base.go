package daemon

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/imagebuilder/base"
	builder "github.com/skerry-dev/skerry/imagebuilder/server"
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
			provider, err := builder.Bases(builder.Config{
				BaseDir: cfg.Bases, Mirror: cfg.DebianMirror, SecurityMirror: cfg.DebianSecurityMirror, CABundle: cfg.CABundle,
				Bases: cfg.PythonFrom, PythonImage: cfg.PythonImage, Interpreters: base.HostFolders(os.LookupEnv),
			})
			if err != nil {
				return err
			}
			im, err := provider.Prepare(cmd.Context(), series, func(line string) { _, _ = fmt.Fprintln(c.err, line) })
			if err != nil {
				return err
			}
			place := "in " + im.Dir
			if im.Reference != "" {
				place = "of a registry, and pulled by the first build"
			}
			_, err = fmt.Fprintf(c.out, "%s is %s\n", im.Name, place)
			return err
		},
	}
	cmd.Flags().StringVar(&series, "python", series, "Python series")
	c.bind(cmd, "bases", "debian_mirror", "debian_security_mirror", "ca_bundle", "python_from", "python_image")
	return cmd
}
