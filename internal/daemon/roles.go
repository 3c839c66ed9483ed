package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/internal/config"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/gatewaylink"
)

// Where the tokens of a worker and of a builder may be: a flag would show them to everybody on the host.
const (
	workerTokenVariable  = "SKERRY_WORKER_TOKEN"
	builderTokenVariable = "SKERRY_BUILDER_TOKEN"
)

func (c *command) gateway() *cobra.Command {
	var detach bool
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Run gateway and image builder, for workers elsewhere",
		Long: `Run the gateway with the image builder, and no containers: those run on the hosts whose
"skerryd worker" joins. Each worker needs a token of its role and reaches the gateway at
--listen; any address but loopback needs TLS or --insecure. With --external-builders
images are built on the hosts whose "skerryd builder" joins, and not here.`,
		Example: `  skerryd gateway --listen 0.0.0.0:7070 --tls-cert cert.pem --tls-key key.pem
  skerryd token new --role worker --name host-7 > worker.token`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			return c.start(cmd, cfg, detach, roles{gateway: true, builder: !cfg.ExternalBuilders})
		},
	}
	c.bindDetach(cmd, &detach)
	c.bindGroups(cmd, config.GroupMain, config.GroupIngress, config.GroupBuilder)
	c.bind(cmd, "runsc", "platform", "allow_private", "nameservers", "subnet")
	return cmd
}

func (c *command) worker() *cobra.Command {
	var detach bool
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run containers for a gateway elsewhere",
		Long: `Run containers for the gateway at --gateway. The worker dials it and needs no open port.
Its token comes from "skerryd token new --role worker" on the gateway's host, in the file
of --token-file or in ` + workerTokenVariable + `. While the gateway is away, it dials again.`,
		Example: `  skerryd worker --gateway https://skerry.example:7070 --token-file worker.token
  skerryd worker --gateway https://skerry.example:7070 --token-file worker.token \
    --labels region=eu-west,cloud=aws,preemptible=true`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			return c.start(cmd, cfg, detach, roles{worker: true})
		},
	}
	c.bindDetach(cmd, &detach)
	c.bindGroups(cmd, config.GroupJoin, config.GroupWorker)
	c.bind(cmd, "data", "run", "log_format", "log_level")
	return cmd
}

func (c *command) builder() *cobra.Command {
	var detach bool
	cmd := &cobra.Command{
		Use:   "builder",
		Short: "Build images for a gateway elsewhere",
		Long: `Build images for the gateway at --gateway. The builder dials it and needs no open port;
several share the work, and each image is built by one of them. Its token comes from
"skerryd token new --role builder" on the gateway's host, in the file of --token-file
or in ` + builderTokenVariable + `. While the gateway is away, it dials again.`,
		Example: `  skerryd builder --gateway https://skerry.example:7070 --token-file builder.token
  skerryd builder --gateway https://skerry.example:7070 --token-file builder.token \
    --builds 8 --build-memory 8192`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			return c.start(cmd, cfg, detach, roles{builder: true})
		},
	}
	c.bindDetach(cmd, &detach)
	c.bindGroups(cmd, config.GroupJoin, config.GroupBuilder)
	c.bind(cmd, "data", "run", "log_format", "log_level", "runsc", "platform", "guest", "allow_private", "nameservers", "subnet")
	return cmd
}

// bindGroups gives a command the flags of groups of settings.
func (c *command) bindGroups(cmd *cobra.Command, groups ...string) {
	var keys []string
	for _, o := range c.options {
		for _, g := range groups {
			if o.Group == g {
				keys = append(keys, o.Key)
			}
		}
	}
	c.bind(cmd, keys...)
}

// remoteGateway is where a worker or builder by itself finds its gateway, and its token: from the file of the settings or, without one, from
// the environment variable of its role. Lookup is os.Getenv but for tests.
func remoteGateway(cfg config.Config, role identity.Role, lookup func(string) string) (a gatewaylink.Address, err error) {
	if cfg.Gateway == "" {
		return a, fault.New(fault.Invalid, "gateway: missing; give its URL with --gateway")
	}
	token := lookup(workerTokenVariable)
	if role == identity.Builder {
		token = lookup(builderTokenVariable)
	}
	if cfg.TokenFile != "" {
		text, err := os.ReadFile(cfg.TokenFile)
		if err != nil {
			return a, fault.New(fault.Invalid, "token file: %w", err)
		}
		token = strings.TrimSpace(string(text))
	}
	if token == "" {
		return a, fault.New(fault.Invalid, "%s token: missing; make one with skerryd token new --role %s, and give its file with --token-file", role, role)
	}
	a = gatewaylink.Address{URL: cfg.Gateway, Token: token}
	if cfg.GatewayCA == "" {
		return a, nil
	}
	pem, err := os.ReadFile(cfg.GatewayCA)
	if err != nil {
		return a, fault.New(fault.Invalid, "gateway_ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return a, fault.New(fault.Invalid, "gateway_ca %q: has no certificate in PEM form", cfg.GatewayCA)
	}
	a.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	return a, nil
}

// announce says where the gateway is that a started process belongs to.
func announce(cfg config.Config) string {
	if cfg.Gateway != "" {
		return fmt.Sprintf("works for %s", cfg.Gateway)
	}
	return "is ready at " + localURL(cfg)
}
