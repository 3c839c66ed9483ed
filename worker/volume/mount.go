package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/voltree"
	"github.com/skerry-dev/skerry/worker/beside"
	"github.com/skerry-dev/skerry/worker/volfs"
)

// EndTimeout is how long the end of a container waits for its last commit. It goes on after that.
const EndTimeout = 2 * time.Minute

// Pauses between attempts of a commit.
const firstPause, lastPause = 200 * time.Millisecond, 30 * time.Second

// mount is a volume of a container.
type mount struct {
	mountArgs
	process *Process
	name    string
	dir     string
	upper   string
	fs      *volfs.FS
	turn    chan struct{} // a token for who commits or reloads
	over    chan struct{} // closed when its container has ended
	ending  sync.Once     // closes over
	done    chan struct{} // closed when all is committed, after over, and it is taken down

	mu      sync.Mutex
	version Version
	base    string // root of the version that its folders are read from
	apart   bool   // what it shows is no version: others have committed as well
	last    error  // of the last commit
	dropped error  // why what was written last is in no version; nil: it is in one
	down    bool   // it is not mounted any more
}

// roots are the trees that it reads.
func (m *mount) roots() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return []string{m.base}
}

// mount mounts a volume for a container that starts.
func (p *Process) mount(ctx context.Context, s *session, args mountArgs) (mounted, error) {
	var v Version
	if _, err := p.worker.Call(ctx, asks(opOpen, openArgs{args.Mount.VolumeID}), &v); err != nil {
		return mounted{}, fmt.Errorf("volume %q: %w", args.Mount.VolumeID, err)
	}
	root, missing, err := p.root(ctx, v, args.Mount.SubPath)
	if err != nil {
		return mounted{}, fmt.Errorf("volume %q: %w", args.Mount.VolumeID, err)
	}
	name := fmt.Sprintf("%s-%d", args.ContainerID, args.Index)
	m := &mount{
		mountArgs: args, process: p, name: name, dir: filepath.Join(p.at.Mounts(), name), upper: filepath.Join(p.cfg.UpperDir, name),
		turn: make(chan struct{}, 1), over: make(chan struct{}), done: make(chan struct{}), version: v, base: v.Root,
	}
	m.fs = volfs.New(volfs.Config{
		Upper: m.upper, Root: root, Missing: missing, Path: args.Mount.SubPath, Tree: p.tree, Blobs: p.chunks,
		Bytes: volfs.NewRoom(p.cfg.DiskBytes, nil), Nodes: volfs.NewRoom(maxNodes, p.nodes), ReadOnly: args.Mount.ReadOnly,
		Log: p.cfg.Log.With("volume", args.Mount.VolumeID, "container", args.ContainerID),
	})
	if err := p.enter(s, m); err != nil {
		return mounted{}, err
	}
	for _, dir := range []string{m.upper, m.dir} {
		if err = os.Mkdir(dir, 0o700); err != nil {
			break
		}
	}
	if err == nil {
		err = m.fs.Mount(m.dir)
	}
	if err != nil {
		p.leave(m)
		return mounted{}, errors.Join(fmt.Errorf("volume %q: %w", args.Mount.VolumeID, err), m.remove())
	}
	p.running.Go(m.live)
	return mounted{m.dir, args.Mount}, nil
}

// root is what a mount shows of a version.
func (p *Process) root(ctx context.Context, v Version, sub string) (root voltree.Entry, missing bool, err error) {
	if root, err = p.tree.Root(ctx, v.Root); err != nil {
		return root, false, err
	}
	names, err := voltree.Split(sub)
	if err != nil || len(names) == 0 {
		return root, false, err
	}
	found, err := p.tree.Find(ctx, root, names)
	if errors.Is(err, fault.NotFound) {
		return voltree.Entry{Type: voltree.Folder, Mode: 0o755, Modified: time.Now().UnixNano()}, true, nil
	}
	if err == nil && found.Type != voltree.Folder {
		err = fault.New(fault.Precondition, "sub_path %q is no folder", sub)
	}
	return found, false, err
}

// enter notes a mount of the connected worker.
func (p *Process) enter(s *session, m *mount) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != s {
		return beside.ErrEnded
	}
	if p.mounts[m.name] != nil {
		return fault.New(fault.Exists, "volume %d of container %q: is mounted", m.Index, m.ContainerID)
	}
	p.mounts[m.name], p.known[m.ContainerID] = m, true
	return nil
}

func (p *Process) leave(m *mount) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.mounts, m.name)
	p.event()
}

// of returns the mounts of a container, of one volume or with "" all, in their order. Errors: fault.NotFound.
func (p *Process) of(containerID, volumeID string) ([]*mount, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []*mount
	for _, m := range p.mounts {
		if m.ContainerID == containerID && (volumeID == "" || m.Mount.VolumeID == volumeID) {
			found = append(found, m)
		}
	}
	if len(found) == 0 && volumeID != "" {
		return nil, fault.New(fault.NotFound, "volume %q: is not mounted in container %q", volumeID, containerID)
	}
	slices.SortFunc(found, func(a, b *mount) int { return cmp.Compare(a.Index, b.Index) })
	return found, nil
}

// adopt hands over the volumes of a container that goes on with another worker.
func (p *Process) adopt(s *session, containerID string) ([]mounted, error) {
	found, err := p.of(containerID, "")
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != s {
		return nil, beside.ErrEnded
	}
	p.known[containerID] = true
	list := []mounted{}
	for _, m := range found {
		list = append(list, mounted{m.dir, m.Mount})
	}
	return list, nil
}

// ends commits what a container that has ended had written, and takes its volumes down.
func (p *Process) ends(ctx context.Context, containerID string) ended {
	found, _ := p.of(containerID, "") // without a volume's name it never fails
	for _, m := range found {
		p.finish(m)
	}
	ctx, cancel := context.WithTimeout(ctx, EndTimeout)
	defer cancel()
	var out ended
	for _, m := range found {
		select {
		case <-m.done:
			m.mu.Lock()
			if m.dropped != nil {
				out.Dropped = m.dropped.Error()
			}
			m.mu.Unlock()
		case <-ctx.Done():
			m.mu.Lock()
			out.Pending = fmt.Sprintf("volume %q: not committed within %s: %v", m.Mount.VolumeID, EndTimeout, m.last)
			m.mu.Unlock()
		}
	}
	return out
}

// finish has a mount end: it is committed and taken down.
func (p *Process) finish(m *mount) { m.ending.Do(func() { close(m.over) }) }

// live commits now and then, and at the end until all is stored.
func (m *mount) live() {
	defer close(m.done)
	p := m.process
	t := time.NewTicker(p.cfg.Interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := m.tryCommit(); err != nil && p.life.Err() == nil {
				p.cfg.Log.Warn("what a container has written is not committed; it is tried again", "volume", m.Mount.VolumeID,
					"container", m.ContainerID, "error", err)
			}
			continue
		case <-m.over:
		case <-p.life.Done():
			return
		}
		break
	}
	m.conclude()
}

// conclude is the end of a mount.
func (m *mount) conclude() {
	p := m.process
	// Nobody writes any more: what is taken down first can't be changed by what is left of the container.
	if err := m.unmount(); err != nil {
		p.cfg.Log.Warn("a volume was not taken down in good order", "volume", m.Mount.VolumeID, "error", err)
	}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := m.tryCommit()
		if err == nil {
			break
		}
		if errors.Is(err, fault.NotFound) {
			m.mu.Lock()
			m.dropped = err
			m.mu.Unlock()
			p.cfg.Log.Warn("a volume is no more to be had: what was written to it last is dropped", "volume", m.Mount.VolumeID,
				"container", m.ContainerID, "error", err)
			break
		}
		p.cfg.Log.Warn("what a container had written is not committed; it is tried again", "volume", m.Mount.VolumeID,
			"container", m.ContainerID, "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-p.life.Done():
			timer.Stop()
			return
		}
	}
	m.fs.Close()
	p.leave(m)
	if err := m.remove(); err != nil {
		p.cfg.Log.Warn("what a volume has left was not removed", "volume", m.Mount.VolumeID, "error", err)
	}
}

func (m *mount) tryCommit() error {
	_, err := m.commit(m.process.life)
	m.mu.Lock()
	m.last = err
	m.mu.Unlock()
	return err
}

func (m *mount) unmount() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil
	}
	m.down = true
	return m.fs.Unmount()
}

// takeDown ends a mount whatever is not committed.
func (m *mount) takeDown() error { return errors.Join(m.unmount(), m.remove()) }

func (m *mount) remove() error {
	return errors.Join(os.RemoveAll(m.upper), removeEmpty(m.dir))
}

func removeEmpty(dir string) error {
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
