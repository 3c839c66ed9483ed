package daemon

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/server"
	"github.com/skerry-dev/skerry/internal/fault"
)

func (c *command) token() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Make tokens for clients", Args: cobra.NoArgs}
	cmd.AddCommand(c.tokenNew())
	return cmd
}

func (c *command) tokenNew() *cobra.Command {
	var name, save, url, role string
	var environments []string
	cmd := &cobra.Command{
		Use:     "new",
		Aliases: []string{"create"},
		Short:   "Make a token and print it",
		Long: `Make a token in the database of a data folder, whether or not skerryd runs, and print
its id and secret, which is kept nowhere else. With --save it goes to a profile of
~/.skerry.toml instead. A token of the role worker lets a "skerryd worker" join, one
of the role builder a "skerryd builder"; they are printed in one line, as --token-file
takes them.`,
		Example: `  skerryd token new --name alice
  skerryd token new --name ci --environment staging       # opens that environment alone
  skerryd token new --role worker --name host-7 > worker.token
  skerryd token new --save local                        # this machine's profile is lost
  skerry token set --token-id tk-... --token-secret -   # on the client's machine`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			r := identity.Role(role)
			if r != identity.Admin && r != identity.Worker && r != identity.Builder {
				return fault.New(fault.Invalid, "role %q: want %s, %s or %s", role, identity.Admin, identity.Worker, identity.Builder)
			}
			if r != identity.Admin && save != "" {
				return fault.New(fault.Invalid, "--save: a %s reads its token from --token-file, not from a profile", r)
			}
			if r != identity.Admin && len(environments) > 0 {
				return fault.New(fault.Invalid, "--environment: a %s serves all environments", r)
			}
			t, err := server.CreateToken(cmd.Context(), server.Database(gatewayDir(cfg), cfg.DB), server.NewToken{Name: name, Role: r, Environments: environments})
			if err != nil {
				return err
			}
			if r != identity.Admin {
				_, err = fmt.Fprintln(c.out, t.Encode())
				return err
			}
			if save == "" {
				_, err = fmt.Fprintf(c.out, "token_id     = %s\ntoken_secret = %s\n", t.ID, t.Secret)
				return err
			}
			path, err := profilePath()
			if err != nil {
				return err
			}
			if url == "" {
				url = localURL(cfg)
			}
			if err := writeProfile(path, save, url, t); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "token %s is in profile %q of %s\n", t.ID, save, path)
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "admin", "what people call it")
	cmd.Flags().StringVar(&role, "role", string(identity.Admin), "what it opens: admin (all of the API), worker or builder")
	cmd.Flags().StringSliceVar(&environments, "environment", nil, "an environment that it opens, by name; several are possible (default all)")
	cmd.Flags().StringVar(&save, "save", "", "profile of ~/.skerry.toml to write it to")
	cmd.Flags().StringVar(&url, "url", "", "the gateway's URL for that profile (default that of --listen)")
	c.bind(cmd, "data", "db", "listen", "tls_cert")
	return cmd
}
