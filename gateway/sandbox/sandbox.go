// Package sandbox is the gateway's noun of sandboxes: containers that a client drives, which live on their workers with or without a
// gateway. What is known of a running one is in memory and with its worker; the store has it a moment later.
package sandbox

import (
	"context"
	"maps"
	"time"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/placement"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Defaults and bounds of a sandbox's life.
const (
	DefaultTimeout = 300 * time.Second
	MinTimeout     = time.Second
	MaxTimeout     = 30 * 24 * time.Hour
	// Kept is how long a sandbox that has ended can be found.
	Kept = 7 * 24 * time.Hour
	// MaxWait bounds one wait of a client, which asks again.
	MaxWait = 60 * time.Second
	// SettleTime is how long after its start a gateway that no worker has linked to says of an unknown sandbox that it may be there.
	SettleTime = 10 * time.Second
	// AbsenceGrace is how long after its timeout a sandbox is waited for whose worker is away.
	AbsenceGrace = time.Minute
)

// What a sandbox reserves on its worker where its definition says nothing: what an idle one holds, measured on the host. All together are bounded by
// what the worker offers, so that a thousand have room on 24 GiB.
const (
	DefaultReservedCPUMilli  = 1
	DefaultReservedMemoryMiB = 21
)

// State says where a sandbox is in its life; the numbers are those of skerry.v1.SandboxState.
type State uint8

// The states.
const (
	Starting State = 1
	Running  State = 2
	Paused   State = 3
	Ended    State = 4
)

// Reason says why a sandbox ended; the numbers are those of skerry.v1.SandboxEndReason.
type Reason uint8

// The reasons.
const (
	Exited      Reason = 1
	TimedOut    Reason = 2
	IdleTimeout Reason = 3
	Terminated  Reason = 4
	OutOfMemory Reason = 5
	StartFailed Reason = 6
	Lost        Reason = 7
)

// Codes that sandboxes return which did not exit by themselves.
const (
	codeStartFailed = 1
	codeTimeout     = 124
	codeKilled      = 137
)

// code is what a sandbox returns that ended for the reason, if its command did not exit.
func (r Reason) code() int32 {
	switch r {
	case TimedOut, IdleTimeout:
		return codeTimeout
	case StartFailed:
		return codeStartFailed
	case Exited:
		return 0
	default:
		return codeKilled
	}
}

// End is how a sandbox ended.
type End struct {
	Reason     Reason    `json:"reason"`
	ReturnCode int32     `json:"return_code"`
	Message    string    `json:"message,omitempty"`
	At         time.Time `json:"at"`
}

// LostNow is the end of what is lost without a word of its own.
func LostNow(message string) End {
	return End{Reason: Lost, ReturnCode: codeKilled, Message: message, At: time.Now().UTC()}
}

// Sidecar is how a further container of a sandbox ended.
type Sidecar struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	ImageID string `json:"image_id"`
	End     End    `json:"end"`
}

// Definition is what a sandbox is; see skerry.v1.SandboxDefinition. Checked fills in what is left out.
type Definition struct {
	Argv          []string               `json:"argv,omitempty"`
	Name          string                 `json:"name,omitempty"`
	Tags          map[string]string      `json:"tags,omitempty"`
	ImageID       string                 `json:"image_id"`
	Env           map[string]string      `json:"env,omitempty"`
	SecretIDs     []string               `json:"secret_ids,omitempty"`
	Timeout       time.Duration          `json:"timeout"`
	IdleTimeout   time.Duration          `json:"idle_timeout,omitempty"` // 0: none
	PauseWhenIdle bool                   `json:"pause_when_idle,omitempty"`
	Workdir       string                 `json:"workdir,omitempty"`
	Resources     function.Resources     `json:"resources"`
	Placement     function.Placement     `json:"placement"`
	Network       Network                `json:"network"`
	Ports         []Port                 `json:"ports,omitempty"`
	PTY           bool                   `json:"pty,omitempty"`
	Probe         *Probe                 `json:"probe,omitempty"`
	Mounts        []function.Mount       `json:"mounts,omitempty"`
	Volumes       []function.VolumeMount `json:"volumes,omitempty"`
	Buckets       []function.BucketMount `json:"buckets,omitempty"`
	Egress        []EgressSecret         `json:"egress,omitempty"`
	Owner         string                 `json:"owner,omitempty"`
	GatewayAccess bool                   `json:"gateway_access,omitempty"`
	Verbose       bool                   `json:"verbose,omitempty"`
	CustomDomain  string                 `json:"custom_domain,omitempty"`
}

// Network is what a sandbox may reach and who may reach it. A nil list is open, an empty one is nothing.
type Network struct {
	Block           bool       `json:"block,omitempty"`
	OutboundCIDRs   *Allowlist `json:"outbound_cidrs,omitempty"`
	OutboundDomains *Allowlist `json:"outbound_domains,omitempty"`
	InboundCIDRs    *Allowlist `json:"inbound_cidrs,omitempty"`
}

// Allowlist is a list of what is allowed.
type Allowlist struct {
	Entries []string `json:"entries"`
}

// PortKind says how a port is reached; the numbers are those of skerry.v1.PortKind.
type PortKind uint8

// The kinds.
const (
	Encrypted   PortKind = 1
	H2          PortKind = 2
	Unencrypted PortKind = 3
)

// Port is a port that is reachable from outside.
type Port struct {
	Port uint16   `json:"port"`
	Kind PortKind `json:"kind"`
}

// Probe tells when a sandbox is ready: something listens at TCPPort, or Exec exits with 0.
type Probe struct {
	TCPPort  uint16        `json:"tcp_port,omitempty"`
	Exec     []string      `json:"exec,omitempty"`
	Interval time.Duration `json:"interval"`
}

// EgressSecret is a value that stays outside of the sandbox; see skerry.v1.EgressSecret.
type EgressSecret struct {
	SecretID            string   `json:"secret_id"`
	Variable            string   `json:"variable"`
	Hosts               []string `json:"hosts"`
	Header              string   `json:"header,omitempty"`
	Format              string   `json:"format,omitempty"`
	PlaceholderVariable string   `json:"placeholder_variable,omitempty"`
	Placeholder         string   `json:"placeholder,omitempty"` // chosen at the start
}

// Sandbox is a sandbox as it is at a moment. It is a value: nothing in it changes.
type Sandbox struct {
	ID          string     `json:"id"`
	AppID       string     `json:"app_id"`
	AppName     string     `json:"app_name"`
	Environment string     `json:"environment"`
	Definition  Definition `json:"definition"`
	State       State      `json:"state"`
	End         *End       `json:"end,omitempty"` // with Ended
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   time.Time  `json:"expires_at"` // zero while it is paused
	WorkerID    string     `json:"worker_id"`
	Ready       bool       `json:"ready,omitempty"`
	SnapshotID  string     `json:"snapshot_id,omitempty"` // it was made from
	Sidecars    []Sidecar  `json:"sidecars,omitempty"`    // with Ended: those that it had, oldest first
	IdleSince   time.Time  `json:"-"`                     // zero: in use, or not known
}

// clone returns a copy whose maps are its own.
func (s *Sandbox) clone() Sandbox {
	c := *s
	c.Definition.Tags = maps.Clone(s.Definition.Tags)
	if s.End != nil {
		end := *s.End
		c.End = &end
	}
	return c
}

// needs is what the sandbox holds of its worker.
func (s *Sandbox) needs() placement.Needs {
	n := placement.Needs{CPUMilli: s.Definition.Resources.CPUMilli, MemoryMiB: s.Definition.Resources.MemoryMiB}
	if n.CPUMilli == 0 {
		n.CPUMilli = DefaultReservedCPUMilli
	}
	if n.MemoryMiB == 0 {
		n.MemoryMiB = DefaultReservedMemoryMiB
	}
	return n
}

// hasTags says whether the sandbox has all of these tags.
func (s *Sandbox) hasTags(tags map[string]string) bool {
	for k, v := range tags {
		if got, ok := s.Definition.Tags[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// Image is the file of an image and what its containers get.
type Image struct {
	File            payload.Ref
	Chunked         bool
	Env             map[string]string
	Workdir         string
	Entrypoint, Cmd []string
}

// EgressRule is a value that a worker puts into requests; it is not for logs.
type EgressRule struct {
	Hosts                            []string
	Header, Value                    string
	Placeholder, PlaceholderVariable string
}

// Spec is a sandbox for a worker to start. SecretEnv, Buckets and the values of EgressRules are not for logs.
type Spec struct {
	Sandbox     Sandbox
	Image       Image
	SecretEnv   map[string]string
	Buckets     []function.BucketCredentials // of the definition's buckets, in their order
	EgressRules []EgressRule
	Record      []byte
	Snapshot    *Snapshot // to make it from; nil: from its image
}

// Snapshot names a sandbox with its memory.
type Snapshot struct{ ID, ManifestDigest string }

// Status is what a worker says of a sandbox that it has.
type Status struct {
	ID        string
	State     State
	End       *End
	Ready     bool
	ExpiresAt time.Time
	IdleSince time.Time
	Record    []byte
	Adopted   bool
	Sidecars  []Sidecar // oldest first; only with Ended
}

// Update changes what is set of a sandbox on its worker; zero fields are left as they are.
type Update struct {
	ExpiresAt   time.Time
	Network     *Network
	Record      []byte
	EgressRules *[]EgressRule
}

// Usage is what a sandbox uses.
type Usage struct {
	CPUTime                       time.Duration
	CPULimitMilli                 uint32
	MemoryBytes, MemoryLimitBytes uint64
	DiskBytes, DiskLimitBytes     uint64
	NetworkReceived, NetworkSent  uint64
	Processes                     uint32
}

// Worker is a linked worker. Implemented by gateway/workerlink. Errors of all: fault.Unavailable where the link is lost.
type Worker interface {
	// Start has the worker take a sandbox. Errors: fault.Exhausted, fault.Invalid.
	Start(ctx context.Context, spec Spec) error
	// Stop ends a sandbox. Errors: fault.NotFound.
	Stop(ctx context.Context, id string, reason Reason) error
	// Update changes a sandbox. Errors: fault.NotFound, fault.Precondition.
	Update(ctx context.Context, id string, u Update) error
	// Forget says that a sandbox's end is recorded.
	Forget(ctx context.Context, id string) error
	// Seal puts an environment into a sandbox; it is not for logs. Errors: fault.NotFound, fault.Precondition.
	Seal(ctx context.Context, id, environmentID string, variables map[string]string) error
	// Usage says what a sandbox uses. Errors: fault.NotFound, fault.Precondition.
	Usage(ctx context.Context, id string) (Usage, error)
	// Watch hands every sandbox of the worker to changed, calls complete, and then hands each that changes to changed, until ctx or the link
	// ends.
	Watch(ctx context.Context, changed func(Status), complete func()) error
}

// Store keeps sandboxes. Implemented by gateway/sqlstore.
type Store interface {
	// PutSandboxes adds sandboxes or replaces those of the same ids, and forgets those that ended before Kept.
	PutSandboxes(ctx context.Context, list []Sandbox) error
	// Sandbox returns a sandbox, or a fault.NotFound.
	Sandbox(ctx context.Context, id string) (*Sandbox, error)
	// EndedSandboxes lists sandboxes that ended, newest first, at most limit of those created before a time.
	EndedSandboxes(ctx context.Context, createdBefore time.Time, limit int) ([]Sandbox, error)
	// LiveSandboxes lists all that have not ended.
	LiveSandboxes(ctx context.Context) ([]Sandbox, error)
	// ClaimSandboxName gives a name to a sandbox of an app, or returns a fault.Exists while another one has it.
	ClaimSandboxName(ctx context.Context, appID, name, id string) error
	// ReleaseSandboxNames takes all names of a sandbox away.
	ReleaseSandboxNames(ctx context.Context, id string) error
}
