package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Option is one setting. It has the methods of a flag's value.
type Option struct {
	// Key is its name in the file, such as "tls_cert".
	Key string
	// Usage says what it is, for people.
	Usage string
	// Group is the heading that help shows it under.
	Group string

	target any // *string, *bool, *int, *float64 or *[]string
}

// The groups of options.
const (
	GroupMain    = "Gateway"
	GroupIngress = "Ports of sandboxes"
	GroupWorker  = "Containers"
	GroupBuilder = "Image builds"
	GroupJoin    = "Joining a gateway"
	// GroupSecrets may hold keys, so there are no flags for them: everybody on a host sees those.
	GroupSecrets = "Secrets"
)

// Options lists all settings, bound to c.
func Options(c *Config) []Option {
	return []Option{
		{"data", "folder of all that is kept", GroupMain, &c.Data},
		{"db", "PostgreSQL database of all records, such as postgres://skerry@host/skerry (its password in PGPASSWORD or PGPASSFILE); none: SQLite in the data folder", GroupMain, &c.DB},
		{"nats", "NATS servers with JetStream for messages, such as nats://a:4222,nats://b:4222; none: built in, in the data folder", GroupMain, &c.NATS},
		{"nats_credentials", "file of credentials for them, as nsc makes it", GroupMain, &c.NATSCredentials},
		{"nats_ca", "file of certificates (PEM) to trust them by; none: the system's", GroupMain, &c.NATSCA},
		{"nats_replicas", "how many of them have each message; 0: 3", GroupMain, &c.NATSReplicas},
		{"blobs", "bucket of images, code and large payloads, such as s3://bucket?region=eu-west-1 (credentials as the AWS tools find them); none: files in the data folder", GroupMain, &c.Blobs},
		{"run", "folder of sockets and of what ends with the process", GroupMain, &c.Run},
		{"listen", "address of the one port; any but loopback needs TLS or --insecure", GroupMain, &c.Listen},
		{"tls_cert", "file of the TLS certificate chain (PEM)", GroupMain, &c.TLSCert},
		{"tls_key", "file of its key (PEM)", GroupMain, &c.TLSKey},
		{"insecure", "listen in clear where others can reach it", GroupMain, &c.Insecure},
		{"secrets_key", "URL of the master key of secrets in a service: awskms://, gcpkms://, hashivault://, base64key://; none: a file in the data folder", GroupSecrets, &c.SecretsKey},
		{"secrets_keys_before", "URLs of master keys of before, which secrets may be sealed under (comma-separated)", GroupSecrets, &c.SecretsKeysBefore},
		{"write_profile", `profile of ~/.skerry.toml that the first start writes; "" for none`, GroupMain, &c.WriteProfile},
		{"sync", "when messages are synced to disk: interval (100 ms) or always", GroupMain, &c.Sync},
		{"heartbeat_window", "seconds that an app lives without a word from the client that runs it", GroupMain, &c.HeartbeatWindow},
		{"blob_grace", "hours that code, images and payloads are kept which nothing refers to; 0: 192, longer than calls keep any", GroupMain, &c.BlobGrace},
		{"shared_layers", "what builders share of their steps' results through the blob store, in MiB; 0: 20,480; -1: nothing", GroupMain, &c.SharedLayers},
		{"log_format", "text, json, or auto: text on a terminal", GroupMain, &c.LogFormat},
		{"log_level", "debug, info, warn or error", GroupMain, &c.LogLevel},

		{"domain", "parent of the host names of sandboxes' ports, a domain of their own (name, or name:port as in URLs); none: they are at loopback addresses", GroupIngress, &c.Domain},
		{"ingress_listen", "address for those host names alone; none: they are served at listen", GroupIngress, &c.IngressListen},
		{"ingress_cert", "files of TLS certificate chains for ingress_listen: of *.DOMAIN, and of custom domains (PEM, comma-separated)", GroupIngress, &c.IngressCert},
		{"ingress_key", "files of their keys, in the same order (PEM, comma-separated)", GroupIngress, &c.IngressKey},
		{"tunnel_ports", "ports of this host for tunnels, such as 20000-29999; none: any that is free and, with a domain, no unencrypted tunnels", GroupIngress, &c.TunnelPorts},
		{"trusted_proxies", "ranges of proxies that are believed in X-Forwarded-For, -Proto and -Host (CIDR, comma-separated)", GroupIngress, &c.TrustedProxies},

		{"external_builders", `build images on other hosts, where "skerryd builder" runs, and not in this process`, GroupMain, &c.ExternalBuilders},
		{"gateway", "URL of the gateway that a worker or builder of its own belongs to", GroupJoin, &c.Gateway},
		{"token_file", "file of its token; none: SKERRY_WORKER_TOKEN or SKERRY_BUILDER_TOKEN", GroupJoin, &c.TokenFile},
		{"gateway_ca", "file of certificates (PEM) to trust the gateway by; none: the system's", GroupJoin, &c.GatewayCA},
		{"labels", "what placement goes by: region, cloud, preemptible and others (name=value, comma-separated)", GroupWorker, &c.Labels},
		{"cpu", "cores offered to containers; 0: all of the host's", GroupWorker, &c.CPU},
		{"memory", "memory offered to containers in MiB; 0: most of the host's", GroupWorker, &c.Memory},
		{"disk", "size of a container's writable layer in MiB where the function gives none; 0: 10,240", GroupWorker, &c.Disk},
		{"image_cache", "what a worker keeps of images from elsewhere in MiB; 0: 51,200", GroupWorker, &c.ImageCache},
		{"volume_writes", "what a container may have written to a volume that is not committed yet, in MiB; 0: 65,536", GroupWorker, &c.VolumeWrites},
		{"hot_sandboxes", "memory for sandboxes that are kept ready for images in use, in MiB; 0: a tenth of memory; -1: none are", GroupWorker, &c.HotSandboxes},
		{"allow_private", "private ranges that containers and builds may reach (CIDR, comma-separated)", GroupWorker, &c.AllowPrivate},
		{"nameservers", "DNS servers for containers; none: those of the host", GroupWorker, &c.Nameservers},
		{"subnet", "range of the containers' addresses (CIDR); none: one that the host does not use", GroupWorker, &c.Subnet},
		{"egress_roots", "file of certificates (PEM) to trust besides the system's where secrets are added to sandboxes' requests", GroupWorker, &c.EgressRoots},
		{"bucket_endpoints", "stores of buckets that are reached from the host's own network, such as http://127.0.0.1:9000 (comma-separated)", GroupWorker, &c.BucketEndpoints},
		{"runsc", "path of gVisor's runsc; none: beside skerryd, then PATH", GroupWorker, &c.Runsc},
		{"platform", "gVisor's platform: systrap, kvm or ptrace", GroupWorker, &c.Platform},
		{"guest", "folder that containers see as /__skerry; none: guest/ beside skerryd", GroupWorker, &c.Guest},

		{"bases", "folder of base images; skerryds of a host share it", GroupBuilder, &c.Bases},
		{"buildkit", "address of a buildkitd that runs already; none: one is started", GroupBuilder, &c.Buildkit},
		{"buildkitd", "path of buildkitd; none: beside skerryd, then PATH", GroupBuilder, &c.Buildkitd},
		{"builds", "builds at a time; 0: 4", GroupBuilder, &c.Builds},
		{"build_runtime", "what build steps run in: runsc (gVisor), or runc: recipes are then trusted with the host", GroupBuilder, &c.BuildRuntime},
		{"build_cpu", "cores that one build step may use; 0: all of the host's", GroupBuilder, &c.BuildCPU},
		{"build_memory", "memory that one build step may use in MiB; 0: half of the host's", GroupBuilder, &c.BuildMemory},
		{"build_disk", "what one build step may write in MiB; 0: 65,536", GroupBuilder, &c.BuildDisk},
		{"build_processes", "processes and threads that one build step may have; 0: 4,096", GroupBuilder, &c.BuildProcesses},
		{"build_timeout", "seconds that one build step may run; 0: 3,600", GroupBuilder, &c.BuildTimeout},
		{"build_total_timeout", "seconds that a whole build may take, once it is its turn; 0: 21,600, or build_timeout where that is more", GroupBuilder, &c.BuildTotalTimeout},
		{"build_subnet", "range of the build steps' addresses (CIDR); none: one of the instance's own", GroupBuilder, &c.BuildSubnet},
		{"build_env", "variables of skerryd's environment that build steps get, but images don't keep", GroupBuilder, &c.BuildEnv},
		{"ca_bundle", `file of certificates that build steps trust; none: the host's; "none": the image's own`, GroupBuilder, &c.CABundle},
		{"python_from", "where Debian images with Python come from, the first that has a series: debian, host (uv's or pyenv's), registry", GroupBuilder, &c.PythonFrom},
		{"python_image", `image of a Python series in a registry, for python_from=registry, such as "python:{python}-slim"`, GroupBuilder, &c.PythonImage},
		{"registry_mirrors", "mirrors and pull-through caches of registries (registry=mirror[/path], comma-separated)", GroupBuilder, &c.RegistryMirrors},
		{"plain_registries", "registries and mirrors that speak HTTP without TLS (host[:port], comma-separated)", GroupBuilder, &c.PlainRegistries},
		{"build_cache", `where builders share steps' results in place of the gateway's blob store, such as "type=registry,ref=registry.example.com/skerry/cache", "type=local,dir=/mnt/shared" or "type=s3,bucket=b,region=r"`, GroupBuilder, &c.BuildCache},
		{"debian_mirror", "Debian package archive for images; none: Debian's own", GroupBuilder, &c.DebianMirror},
		{"debian_security_mirror", "its security archive; none: the archive with -security behind it", GroupBuilder, &c.DebianSecurityMirror},
	}
}

// Env is the option's environment variable, such as SKERRY_TLS_CERT.
func (o Option) Env() string { return "SKERRY_" + strings.ToUpper(o.Key) }

// Flag is the option's flag without dashes, such as tls-cert.
func (o Option) Flag() string { return strings.ReplaceAll(o.Key, "_", "-") }

// IsBool says whether the flag may stand without a value.
func (o Option) IsBool() bool {
	_, ok := o.target.(*bool)
	return ok
}

// Type names the kind of value for help.
func (o Option) Type() string {
	switch o.target.(type) {
	case *bool:
		return "bool"
	case *int:
		return "int"
	case *float64:
		return "number"
	case *[]string:
		return "list"
	default:
		return "string"
	}
}

// String returns the value.
func (o Option) String() string {
	switch t := o.target.(type) {
	case *string:
		return *t
	case *bool:
		return strconv.FormatBool(*t)
	case *int:
		return strconv.Itoa(*t)
	case *float64:
		return strconv.FormatFloat(*t, 'f', -1, 64)
	case *[]string:
		return strings.Join(*t, ",")
	default:
		return ""
	}
}

// Set reads the value of a flag or variable.
func (o Option) Set(text string) (err error) {
	switch t := o.target.(type) {
	case *string:
		*t = text
	case *bool:
		if *t, err = strconv.ParseBool(text); err != nil {
			return errors.New("want true or false")
		}
	case *int:
		if *t, err = strconv.Atoi(text); err != nil {
			return errors.New("want a whole number")
		}
	case *float64:
		if *t, err = strconv.ParseFloat(text, 64); err != nil {
			return errors.New("want a number")
		}
	case *[]string:
		*t = nil
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				*t = append(*t, part)
			}
		}
	}
	return nil
}

// setValue takes a value of the file, whose type must be the option's.
func (o Option) setValue(value any) error {
	switch t := o.target.(type) {
	case *string:
		return assign(t, value)
	case *bool:
		return assign(t, value)
	case *int:
		var n int64
		if err := assign(&n, value); err != nil {
			return err
		}
		*t = int(n)
	case *float64:
		if n, ok := value.(int64); ok {
			value = float64(n)
		}
		return assign(t, value)
	case *[]string:
		list, ok := value.([]any)
		if !ok {
			return fmt.Errorf("want a list of strings, not %v", value)
		}
		*t = nil
		for _, v := range list {
			s, ok := v.(string)
			if !ok {
				return fmt.Errorf("want a list of strings; %v is none", v)
			}
			*t = append(*t, s)
		}
	}
	return nil
}

func assign[T any](target *T, value any) error {
	v, ok := value.(T)
	if !ok {
		return fmt.Errorf("want a %T, not %v", *target, value)
	}
	*target = v
	return nil
}
