package daemon

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/gateway/server"
)

func (c *command) secret() *cobra.Command {
	cmd := &cobra.Command{Use: "secret", Short: "Look after the key of secrets", Args: cobra.NoArgs}
	cmd.AddCommand(c.secretRotate())
	return cmd
}

func (c *command) secretRotate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate-key",
		Short: "Change the master key of secrets",
		Long: `Make a new master key in the data folder, seal the keys of all secrets under it, and
remove the one before. The secrets stay as they are. skerryd must not run meanwhile. If
it is interrupted, whatever the moment, nothing is lost: the old key stays until the last
secret is done, and this command or the next start goes on.

With the setting secrets_key, what is sealed under other keys is sealed under that one:
the file in the data folder, and those that secrets_keys_before names. A start of
skerryd does the same. To change the key of a service, set secrets_key to the new one and
secrets_keys_before to the one before, and restart skerryd.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			lock, err := lockPID(cfg.PIDFile())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, lock.release()) }()
			n, err := server.RotateKey(cmd.Context(), server.Config{
				Dir: gatewayDir(cfg), DB: cfg.DB, SecretsKey: cfg.SecretsKey, SecretsKeysBefore: cfg.SecretsKeysBefore,
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "%d secrets are sealed under the current master key\n", n)
			return err
		},
	}
	c.bind(cmd, "data", "db")
	return cmd
}
