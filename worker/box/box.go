// Package box is the machine of a sandbox: a booted gVisor sandbox with its folder, network, image and init, before it is anybody's and until
// nothing is left of it.
package box

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// Spec says what a box is made of.
type Spec struct {
	ID     string // "bx-..."
	Image  container.Image
	Mounts []container.Mount
	// Volumes are mounted for this container.
	Volumes   []container.VolumeMount
	VolumesOf string
	Buckets   []container.BucketMount // credentials are not in its JSON
	Network   policy.Policy
	// Openable: it has a network interface while its policy blocks the network, so that a change of the policy can open it.
	Openable bool `json:",omitempty"`
	// Access gives it a socket to the gateway, with the rights of this container; empty: none.
	Access string
	// From is a folder with the checkpoint of a box of the same image, mounts and disk to go on with; empty: it begins anew.
	From string `json:"-"`

	DiskMiB                 uint32 // 0: the host's default
	CPUMilli, CPULimitMilli uint32 // weight, and the most; 0: no limit of its own
	MemoryLimitMiB          uint32 // 0: none of its own
}

// DefaultWeightMilli is the weight of a box that has none of its own: what the kernel gives groups of which nothing is said.
const DefaultWeightMilli = 1000

// Config is what boxes of a worker share. Folders are absolute; all fields without a default are needed.
type Config struct {
	RunDir     string // a folder per box with its sockets and bundle; short, for socket paths have 107 bytes at most
	DiskDir    string // files of writable layers
	RuntimeDir string // with skerry-init; boxes see it at container.RuntimeTarget

	Network  network.Endpoints
	Rootfs   Rootfs
	Machines Machines
	Guest    func(net.Conn) (Guest, error) // begins to speak with init; it owns the connection
	Access   container.Access              // nil: boxes can't call the gateway
	Volumes  Volumes                       // nil: boxes can have none
	Buckets  container.Buckets             // nil: no box has any

	DiskMiB uint32 // default container.DefaultDiskMiB
}

// Host makes boxes. It is safe for concurrent use.
type Host struct{ cfg Config }

// NewHost returns a host and makes its folders.
func NewHost(cfg Config) (*Host, error) {
	if cfg.DiskMiB == 0 {
		cfg.DiskMiB = container.DefaultDiskMiB
	}
	for _, dir := range []string{cfg.RunDir, cfg.DiskDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("boxes: %w", err)
		}
	}
	// The runtime folder is bound read-only, so the place for the sockets has to be in it already.
	if err := os.MkdirAll(filepath.Join(cfg.RuntimeDir, runName), 0o755); err != nil { //nolint:gosec // an empty folder for all
		return nil, fmt.Errorf("boxes: runtime folder: %w", err)
	}
	return &Host{cfg: cfg}, nil
}

// Box is one box. It is safe for concurrent use.
type Box struct {
	*line
	host *Host
	spec Spec
	dir  string

	undo     *lifecycle.Cleanup // what prepare took; for Start, and for Delete after it
	endpoint *container.Endpoint
	image    string
	binds    []container.Bind
	volumes  []container.Bind           // by the spec's order
	buckets  []*container.MountedBucket // by the spec's order
	accessL  *net.UnixListener          // nil: no access
	group    *lifecycle.Group

	up   chan struct{} // closed when the machine has been booted, or could not be; what follows is set before
	boot struct {
		machine Machine
		err     error
	}

	broken   chan struct{} // closed when something is lost that the box needs
	breaking sync.Once
	why      string // set before broken is closed

	mounting sync.Mutex // held while an image is shown or taken away

	adding sync.RWMutex // held for reading while a container is added, for writing while there may be none besides its own

	mu     sync.Mutex
	mounts map[string]mount // by path
	policy policy.Policy
	inners map[string]*Inner // containers besides its own, by id
	gone   map[string]error  // those that could not be taken over, and why

	deleted sync.Once
	failed  []error // of giving back
}

// Start makes a box and returns when its init has linked. Nothing is left behind when it fails or ctx ends.
func (h *Host) Start(ctx context.Context, spec Spec) (*Box, error) {
	if spec.DiskMiB == 0 {
		spec.DiskMiB = h.cfg.DiskMiB
	}
	b := h.newBox(spec)
	err := b.prepare(ctx)
	if err == nil {
		b.start(ctx)
		_, err = b.Guest(ctx)
	}
	if err == nil {
		return b, nil
	}
	if why := b.Why(); b.ended() && why.Message != "" {
		err = fault.New(fault.Internal, "%s", why.Message)
	}
	c, cancel := lifecycle.Detach(ctx, DeleteTimeout)
	defer cancel()
	return nil, errors.Join(fmt.Errorf("box %q: %w", spec.ID, err), b.Delete(c))
}

// Image is the path of the file that the box's root is read from.
func (b *Box) Image() string { return b.image }

func (h *Host) newBox(spec Spec) *Box {
	return &Box{
		line: newLine("box", spec.ID, h.cfg.Guest),
		host: h, spec: spec, dir: filepath.Join(h.cfg.RunDir, spec.ID), policy: spec.Network, undo: lifecycle.NewCleanup(),
		up: make(chan struct{}), broken: make(chan struct{}), mounts: map[string]mount{}, inners: map[string]*Inner{}, gone: map[string]error{},
	}
}

// ID is the box's name, "bx-...".
func (b *Box) ID() string { return b.spec.ID }

// Endpoint is its place on the network.
func (b *Box) Endpoint() *container.Endpoint { return b.endpoint }

// Traffic is what its network has carried since it was made. Errors: fault.NotFound once it is given back.
func (b *Box) Traffic() (network.Traffic, error) { return b.host.cfg.Network.Traffic(b.endpoint) }

// Machine returns the machine, or nil while it has not been booted.
func (b *Box) Machine() Machine {
	select {
	case <-b.up:
		return b.boot.machine
	default:
		return nil
	}
}

// booted returns the machine, waiting for the runtime's command, after which init often links already. Errors: fault.Unavailable.
func (b *Box) booted(ctx context.Context) (Machine, error) {
	select {
	case <-b.up:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if b.boot.err != nil {
		return nil, fault.New(fault.Unavailable, "box %q: was not booted", b.spec.ID)
	}
	return b.boot.machine, nil
}

// Cause is what ended a box, as far as the host can tell.
type Cause struct {
	UsedUp  container.Resource // what it has run out of
	Message string             // what the runtime has said; may be empty
}

// Why tells what ended the box. Only before Delete.
func (b *Box) Why() Cause {
	m := b.Machine()
	if m == nil {
		select {
		case <-b.up:
			return Cause{Message: b.boot.err.Error()}
		default:
			return Cause{}
		}
	}
	used, err := m.UsedUp()
	c := Cause{UsedUp: used, Message: m.Crash()}
	if err != nil && c.Message == "" {
		c.Message = err.Error()
	}
	return c
}

// Kill ends the machine at once; Done follows. One that is being booted ends with Delete.
func (b *Box) Kill() error {
	if m := b.Machine(); m != nil {
		return m.Kill()
	}
	return nil
}

// DeleteTimeout is how long a box may take to be given back.
const DeleteTimeout = 30 * time.Second

// Delete kills the box and gives back all that belongs to it. It works once; later calls return the same.
func (b *Box) Delete(ctx context.Context) error {
	b.deleted.Do(func() { b.delete(ctx) })
	return errors.Join(b.failed...)
}

func (b *Box) delete(ctx context.Context) {
	b.note(b.Kill())
	if b.group != nil {
		b.note(b.group.Stop())
		if m := b.Machine(); m != nil {
			b.note(m.Delete(ctx))
		}
	}
	b.endVolumes()
	for at := range b.Record().Mounts {
		b.unmounted(at)
	}
	for _, i := range b.all() {
		i.release()
		b.note(i.failure())
	}
	b.undo.Run()
}

func (b *Box) note(err error) {
	if err != nil {
		b.failed = append(b.failed, fmt.Errorf("box %q: %w", b.spec.ID, err))
	}
}
