package server

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/llb"
	"github.com/skerry-dev/skerry/imagebuilder/runtime"
	"github.com/skerry-dev/skerry/internal/cgroup"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Defaults of Config.
const (
	// DefaultBuilds is how many builds run at a time.
	DefaultBuilds = 4
	// DefaultStepDisk is how much a build step may write, in bytes.
	DefaultStepDisk = 64 << 30
	// DefaultStepProcesses is how many processes and threads of the host a build step may have.
	DefaultStepProcesses = 4096
	// DefaultStepTime is how long a build step may run.
	DefaultStepTime = time.Hour
	// parallelSteps is how many steps run at a time for each build that may: stages of one Dockerfile run beside one another.
	parallelSteps = 4
	// DefaultTime is how long a whole build may take.
	DefaultTime = 6 * time.Hour
	// minStepMemory is what a build step may use on the smallest host, in bytes.
	minStepMemory = 1 << 30
	// DefaultCABundle is where Debian and its kin keep the certificates that the host trusts.
	DefaultCABundle = "/etc/ssl/certs/ca-certificates.crt"
)

// DefaultSubnet is where build steps of an instance get their addresses: one of 4,096 subnets of 10.208.0.0/12, so that several instances
// on a host hardly ever meet.
func DefaultSubnet(instance string) netip.Prefix {
	sum := sha256.Sum256([]byte(instance))
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 208 + sum[0]&0x0f, sum[1], 0}), 24)
}

// DefaultStepMemory is half of the host's memory, in bytes.
func DefaultStepMemory() (int64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("memory of the host: %w", err)
	}
	total, err := cgroup.HostMemory(info.Totalram * uint64(info.Unit))
	return max(int64(total/2), minStepMemory), err //nolint:gosec // far smaller
}

// Config describes a builder. The zero value of a field is its default unless it says that it is needed.
type Config struct {
	// Gateway is the gateway's URL. Needed.
	Gateway string
	// Token authenticates the builder.
	Token string
	// TLS is used for an https gateway; nil: the host's trust.
	TLS *tls.Config
	// Dial connects to the gateway; nil: TCP to its URL.
	Dial func(ctx context.Context) (net.Conn, error)

	// DataDir is the folder of the layer cache, on a disk with room. Needed, absolute.
	DataDir string
	// RunDir is the folder of sockets and runtime state; its path has at most 80 bytes. Needed, absolute, nobody else's.
	RunDir string
	// BaseDir is the folder of bases, which builders may share; default: DataDir/bases.
	BaseDir string
	// Instance is in the names of what the builder makes on the host; 6 hex digits. Needed.
	Instance string

	// Keep, if not nil, may move the whole file of an image that was just built to a worker on this host, which then need not put it together.
	Keep func(path string, image payload.Ref)

	// Builds is how many run at a time; others wait in turn. Default: DefaultBuilds.
	Builds int
	// Time is how long a whole build may take from its turn on, with all that it waits for: a base, a registry, each step. Default: DefaultTime, or
	// that of a step where that is more.
	Time time.Duration
	// Buildkit is the address of a buildkitd that runs already; default: one is started from Buildkitd.
	Buildkit string
	// Buildkitd is the path of buildkitd. Needed unless Buildkit is given.
	Buildkitd string
	// Runsc is the path of runsc, in which build steps run.
	Runsc string
	// RuntimeCommand runs imagebuilder/runtime.Main, such as {"/usr/bin/skerryd", "buildkit-runtime"}. Needed unless Buildkit is
	// given.
	RuntimeCommand []string
	// Runc is the path of runc, which runs build steps in place of gVisor: recipes are then trusted with the host. Empty: gVisor does.
	Runc string
	// Platform is gVisor's; default: systrap.
	Platform string
	// Step bounds one build step. Zero fields are DefaultStepMemory, DefaultStepDisk, DefaultStepProcesses, DefaultStepTime and all of the
	// host's CPU. The name of the control group is the builder's to choose.
	Step runtime.Limits
	// CacheBytes is how much the layer cache may hold; default: solve.DefaultCacheBytes.
	CacheBytes int64

	// Bridge is the name of the build steps' bridge; default: "sk" + Instance + "b".
	Bridge string
	// Subnet is where they get addresses; its first is the bridge's. Default: DefaultSubnet of the instance.
	Subnet netip.Prefix
	// NoMasquerade leaves it to others to give build steps a way out.
	NoMasquerade bool
	// Nameservers are what steps resolve names with; default: those of the host.
	Nameservers []string
	// CNIPlugins is the folder of the container network plugins; default: solve.DefaultCNIPlugins.
	CNIPlugins string

	// GuestDir is the folder of what runs build functions: the SDK and what it needs; empty: there are none.
	GuestDir string

	// Volumes has volumes on this host for build steps; nil: steps can have none.
	Volumes build.Volumes

	// CABundle is the file of certificates that build steps trust; default: DefaultCABundle where that exists; "none": the image's own.
	CABundle string
	// Settings are environment variables of every build step that are neither part of cache keys nor left in images, such as
	// PIP_INDEX_URL and UV_DEFAULT_INDEX.
	Settings map[string]string
	// Proxy is handed to build steps.
	Proxy llb.Proxy
	// Bases are where bases with Python come from, the first that has a series: BasesDebian, BasesHost, BasesRegistry. Default: the first two.
	Bases []string
	// PythonImage is the reference of a series' image in a registry, see base.FromRegistry. Needed where Bases has BasesRegistry.
	PythonImage string
	// Interpreters are the folders of this host's Pythons by the tool that installs them; see base.HostFolders. Default: none.
	Interpreters map[string]string
	// RegistryMirrors are mirrors and pull-through caches of registries, as "registry=mirror"; those of one are asked in order.
	RegistryMirrors []string
	// PlainRegistries are registries and mirrors that speak HTTP without TLS.
	PlainRegistries []string
	// SharedCache is where builders share results of steps, see solve.ParseCache; default: the gateway's blob store.
	SharedCache string
	// Layers is how builders learn of one another's results there; default: from the gateway.
	Layers build.Layers
	// AllowPrivate are private ranges that registries and other sources which recipes name may be in.
	AllowPrivate []netip.Prefix
	// AWSEndpoint is where AWS's services are; default: at AWS.
	AWSEndpoint string
	// Mirror and SecurityMirror are the package archives, see base.DebianConfig; default: Debian's own.
	Mirror, SecurityMirror string
}
