package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/beside"
	"github.com/skerry-dev/skerry/worker/container"
)

// Bounds of what a worker waits for.
const (
	// StartTimeout bounds starting the process, or finding it.
	StartTimeout = 30 * time.Second
	// blobTimeout bounds getting a blob for the process, which asks again.
	blobTimeout = 35 * time.Second
)

// HostConfig says how a worker has volumes. Fields without a default are needed.
type HostConfig struct {
	Process Config   // Release and Log are the worker's own
	LogFile string   // which the process appends to
	Command []string // a program that runs Main with the argument after these
	Store   Store
	Blobs   Blobs
	// Drops has Close drop what is not committed, for nobody has a use for it: what wrote it has ended with this process.
	Drops bool
	// Lost hears of containers whose volumes are gone because the process died; or nil.
	Lost func(containerIDs []string, cause error)
}

// Host is a worker's side. It starts the process when a volume is first needed. It is safe for concurrent use.
type Host struct {
	cfg     HostConfig
	at      beside.Folder
	log     *slog.Logger
	life    context.Context //nolint:containedctx // of connections, which outlive those who want them first
	end     context.CancelFunc
	running sync.WaitGroup
	turn    chan struct{} // a token for who connects

	mu         sync.Mutex
	link       *link // or nil
	containers map[string][]mounted
	lost       map[string]error  // containers whose volumes are gone, until their end
	commits    map[string]Commit // that are being staged, by request
	closing    bool
	died       bool // a process that was connected has ended
}

var _ container.Volumes = (*Host)(nil)

// link is a connection to the process.
type link struct {
	peer    *beside.Peer
	process chan struct{} // closed when the process has ended; nil for one that another worker started
	ended   chan struct{} // closed when the connection has ended and what follows from that is done
}

// NewHost describes a worker's side; no process is looked for yet.
func NewHost(cfg HostConfig) *Host {
	life, end := context.WithCancel(context.Background())
	return &Host{
		cfg: cfg, at: beside.Folder(cfg.Process.Dir), log: cfg.Process.Log, life: life, end: end, turn: make(chan struct{}, 1),
		containers: map[string][]mounted{}, lost: map[string]error{}, commits: map[string]Commit{},
	}
}

// Mount implements container.Volumes.
func (h *Host) Mount(ctx context.Context, containerID string, mounts []container.VolumeMount) ([]container.Bind, error) {
	if len(mounts) == 0 {
		return nil, nil
	}
	for range maxTries {
		if out, err := h.mount(ctx, containerID, mounts); !errors.Is(err, beside.ErrEnded) {
			return out, err
		}
	}
	return h.mount(ctx, containerID, mounts)
}

// maxTries is how often something is asked again of the next process when one has died over it.
const maxTries = 2

func (h *Host) mount(ctx context.Context, containerID string, mounts []container.VolumeMount) ([]container.Bind, error) {
	l, err := h.connected(ctx, true)
	if err != nil {
		return nil, err
	}
	var list []mounted
	for i, m := range mounts {
		var out mounted
		if _, _, err = l.peer.Call(ctx, asks(opMount, mountArgs{containerID, i, m}), &out); err != nil {
			break
		}
		list = append(list, out)
	}
	if err == nil {
		err = h.note(l, containerID, list)
	}
	if err != nil {
		// What was mounted meanwhile, though we no longer wait for it, goes with the container's end.
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), StartTimeout)
		defer cancel()
		_, _, _ = l.peer.Call(c, asks(opEnd, containerArgs{ContainerID: containerID}), nil) // the mount's own error says more
		return nil, err
	}
	return binds(list), nil
}

// note notes what a container has, if the process that has mounted it lives.
func (h *Host) note(l *link, containerID string, list []mounted) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.link != l {
		return beside.ErrEnded
	}
	h.containers[containerID] = list
	return nil
}

func binds(list []mounted) (out []container.Bind) {
	for _, m := range list {
		out = append(out, m.bind())
	}
	return out
}

// Adopt returns the volumes of a container that an earlier worker started. Errors: fault.NotFound if the process that had them has ended.
func (h *Host) Adopt(ctx context.Context, containerID string) ([]container.Bind, error) {
	list, err := h.adopt(ctx, containerID)
	if err != nil {
		h.mu.Lock()
		h.lost[containerID] = err
		h.mu.Unlock()
	}
	return binds(list), err
}

func (h *Host) adopt(ctx context.Context, containerID string) (list []mounted, err error) {
	l, err := h.connected(ctx, false)
	if err != nil {
		return nil, err
	}
	if _, _, err := l.peer.Call(ctx, asks(opAdopt, containerArgs{ContainerID: containerID}), &list); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "container %q: its volumes are gone with the process that served them", containerID)
	}
	return list, h.note(l, containerID, list)
}

// End implements container.Volumes. That volumes were lost or deleted before is no error of it.
func (h *Host) End(ctx context.Context, containerID string) error {
	_, err := h.finish(ctx, containerID)
	return err
}

// Finish is End for what counts as done only when all that it has written is committed. Errors: fault.NotFound for volumes that were deleted,
// fault.Unavailable for those that were lost, or are not committed yet.
func (h *Host) Finish(ctx context.Context, containerID string) error {
	missing, err := h.finish(ctx, containerID)
	return errors.Join(missing, err)
}

// finish commits and takes down; missing is why something will never be committed.
func (h *Host) finish(ctx context.Context, containerID string) (missing, err error) {
	h.mu.Lock()
	_, has := h.containers[containerID]
	lost := h.lost[containerID]
	delete(h.containers, containerID)
	delete(h.lost, containerID)
	h.mu.Unlock()
	if lost != nil {
		return fault.New(fault.Unavailable, "%w", lost), nil
	}
	if !has {
		return nil, nil
	}
	l, err := h.connected(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("volumes of container %q: %w", containerID, err)
	}
	var out ended
	if _, _, err := l.peer.Call(ctx, asks(opEnd, containerArgs{ContainerID: containerID}), &out); err != nil {
		return nil, fmt.Errorf("volumes of container %q: %w", containerID, err)
	}
	if out.Pending != "" {
		return nil, fault.New(fault.Unavailable, "container %q: %s; it is tried again", containerID, out.Pending)
	}
	if out.Dropped != "" {
		missing = fault.New(fault.NotFound, "%s", out.Dropped)
	}
	return missing, nil
}

// Commit commits what a container has written to a volume, or with "" to all of its, and returns the newest version that has it. Errors:
// fault.NotFound, fault.Unavailable, fault.Exhausted.
func (h *Host) Commit(ctx context.Context, containerID, volumeID string) (uint64, error) {
	return h.ask(ctx, opCommit, containerID, volumeID)
}

// Reload commits, and then shows the container the newest version. The caller has made sure that no file is open. Errors: as Commit.
func (h *Host) Reload(ctx context.Context, containerID, volumeID string) (uint64, error) {
	return h.ask(ctx, opReload, containerID, volumeID)
}

func (h *Host) ask(ctx context.Context, op, containerID, volumeID string) (uint64, error) {
	paths, err := h.Paths(containerID, volumeID)
	if err != nil {
		return 0, err
	}
	if len(paths) == 0 {
		return 0, fault.New(fault.NotFound, "volume %q: is not mounted in container %q", volumeID, containerID)
	}
	var out reached
	l, err := h.connected(ctx, false)
	if err == nil {
		_, _, err = l.peer.Call(ctx, asks(op, containerArgs{containerID, volumeID}), &out)
	}
	if err != nil {
		if _, lost := h.Paths(containerID, volumeID); lost != nil {
			err = lost // meanwhile
		}
	}
	return out.Version, err
}

// Paths are where a container has a volume, or with "" all of its; none after its end. Errors: fault.Unavailable if its volumes are lost.
func (h *Host) Paths(containerID, volumeID string) (paths []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.lost[containerID]; err != nil {
		return nil, fault.New(fault.Unavailable, "container %q: its volumes are lost: %w", containerID, err)
	}
	for _, m := range h.containers[containerID] {
		if volumeID == "" || m.Mount.VolumeID == volumeID {
			paths = append(paths, m.Mount.Path)
		}
	}
	return paths, nil
}

// Find connects to the process of an earlier worker, if there is one, so that it is served again.
func (h *Host) Find(ctx context.Context) error {
	if _, err := h.connected(ctx, false); err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	return nil
}

// Reap ends the volumes of containers that this worker has not adopted, and takes down what a process that has died has left.
func (h *Host) Reap(ctx context.Context) error {
	for range maxTries {
		l, err := h.connected(ctx, false)
		if errors.Is(err, fault.NotFound) {
			break
		}
		if err != nil {
			return err
		}
		if _, _, err = l.peer.Call(ctx, asks(opSettle, struct{}{}), nil); !errors.Is(err, beside.ErrEnded) {
			return err
		}
	}
	return clearAway(h.at, h.cfg.Process.UpperDir)
}

// Close ends the connection, and the process as well if there is no volume in it. What a process that has died has left is taken down.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closing = true
	l, died := h.link, h.died
	h.mu.Unlock()
	var err error
	switch {
	case l != nil:
		err = h.stop(l)
	case died:
		// Its connection ends before its lock does. What it leaves to be cleared away is there when it is quite over.
		h.at.Ends(context.Background())
	}
	h.end()
	h.running.Wait()
	alive, looked := h.at.Alive()
	if looked == nil && !alive {
		looked = clearAway(h.at, h.cfg.Process.UpperDir)
	}
	return errors.Join(err, looked)
}

func (h *Host) stop(l *link) error {
	ctx, cancel := context.WithTimeout(context.Background(), StartTimeout)
	defer cancel()
	_, _, err := l.peer.Call(ctx, asks(opStop, stopArgs{Drop: h.cfg.Drops}), nil)
	if errors.Is(err, fault.Precondition) {
		return nil // it goes on with what there is
	}
	if err != nil && !errors.Is(err, beside.ErrEnded) {
		return fmt.Errorf("volumes: %w", err)
	}
	lock, err := h.at.Take(ctx) // it has done all when it gives that up
	if err != nil {
		return fmt.Errorf("volumes: the process does not end: %w", err)
	}
	return lock.Close()
}

// connected returns the connection to the process. Errors: fault.NotFound where there is none and none is to be started.
func (h *Host) connected(ctx context.Context, start bool) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("volumes: %w", context.Cause(ctx))
	}
	h.mu.Lock()
	l, closing := h.link, h.closing
	h.mu.Unlock()
	if closing {
		return nil, fault.New(fault.Unavailable, "volumes: the worker ends")
	}
	if l != nil {
		select {
		case <-l.peer.Done():
			<-l.ended
		default:
			return l, nil
		}
	}
	alive, err := h.at.Alive()
	if err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	if l, err = h.reach(ctx, alive, start); err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	h.mu.Lock()
	h.link = l
	h.mu.Unlock()
	h.running.Go(func() {
		<-l.peer.Done()
		h.gone(l)
		close(l.ended)
	})
	return l, nil
}

// reach connects to the process, which is started if there is none. One that is there and doesn't answer may be about to end.
func (h *Host) reach(ctx context.Context, alive, start bool) (*link, error) {
	if alive {
		l, err := h.dial(ctx, nil)
		if err == nil || errors.Is(err, fault.Precondition) || !h.at.Ends(ctx) {
			return l, err
		}
	}
	if !start {
		return nil, fault.New(fault.NotFound, "no process serves them")
	}
	process, err := h.launch(ctx)
	if err != nil {
		return nil, err
	}
	return h.dial(ctx, process)
}

func (h *Host) launch(ctx context.Context) (process chan struct{}, err error) {
	settings, err := json.Marshal(h.cfg.Process)
	if err != nil {
		return nil, err
	}
	return beside.Start(ctx, h.life, &h.running, beside.Program{Command: h.cfg.Command, Settings: string(settings), LogFile: h.cfg.LogFile})
}

// Process is the process that serves volumes. Errors: fault.NotFound where there is none.
func (h *Host) Process(ctx context.Context) (int, error) {
	l, err := h.connected(ctx, false)
	if err != nil {
		return 0, err
	}
	return l.peer.Process()
}
