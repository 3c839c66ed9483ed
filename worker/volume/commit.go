package volume

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/voltree"
	"github.com/skerry-dev/skerry/worker/beside"
	"github.com/skerry-dev/skerry/worker/volfs"
)

const (
	// stores is how many blobs of a commit are stored at a time; each takes up to 4 MiB of memory here and in the worker.
	stores = 4
	// maxStaged is how many changes are handed over at a time.
	maxStaged = 5000
	// storeTimeout bounds one attempt to store a blob, or to apply changes.
	storeTimeout = 2 * time.Minute
)

// reached is what a commit has come to.
type reached struct {
	Version uint64 `json:"version"`
}

// commit commits what a container has written and, if that is asked for, shows it the newest version.
func (p *Process) commit(ctx context.Context, args containerArgs, reload bool) (reached, error) {
	found, err := p.of(args.ContainerID, args.VolumeID)
	if err != nil {
		return reached{}, err
	}
	if len(found) == 0 { // the worker asks for what another process had
		return reached{}, fault.New(fault.NotFound, "container %q: its volumes are not served by this process", args.ContainerID)
	}
	var out reached
	for _, m := range found {
		version, err := m.commit(ctx)
		if err == nil && reload {
			version, err = m.reload(ctx)
		}
		if err != nil {
			return reached{}, fmt.Errorf("volume %q: %w", m.Mount.VolumeID, err)
		}
		out.Version = version
	}
	return out, nil
}

// begin takes the mount's turn. Errors: the cause of ctx.
func (m *mount) begin(ctx context.Context) (end func(), err error) {
	select {
	case m.turn <- struct{}{}:
		return func() { <-m.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// commit commits what has changed, and returns the newest version that has all that was written before.
func (m *mount) commit(ctx context.Context) (uint64, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	return m.commitNow(ctx)
}

func (m *mount) commitNow(ctx context.Context) (version uint64, err error) {
	m.mu.Lock()
	version = m.version.Number
	m.mu.Unlock()
	changes := m.fs.Changes()
	if changes == nil {
		return version, nil
	}
	contents, err := m.store(ctx, changes)
	var made Version
	if err == nil {
		made, err = m.apply(ctx, changes, contents)
	}
	if err != nil {
		changes.Close()
		return 0, err
	}
	changes.Settle(contents)
	m.reached(ctx, made)
	return made.Number, nil
}

// reached notes the version that has what was committed. If it is what the mount shows, its folders are read from it from now on.
func (m *mount) reached(ctx context.Context, v Version) {
	m.mu.Lock()
	m.apart = m.apart || v.Number > m.version.Number+1
	m.version = v
	apart := m.apart
	m.mu.Unlock()
	if apart {
		return
	}
	root, missing, err := m.process.root(ctx, v, m.Mount.SubPath)
	if err != nil || missing {
		return // its folders are read from the version before, and what has changed since is in memory
	}
	m.fs.Stored(ctx, root)
	m.mu.Lock()
	m.base = v.Root
	m.mu.Unlock()
}

// pack is a blob with the bytes of several small files.
type pack struct {
	bytes []byte
	files []*volfs.Cut
	at    []uint64
}

// storing stores the bytes of changed files.
type storing struct {
	m     *mount
	group *errgroup.Group

	mu       sync.Mutex
	contents map[*volfs.Cut]voltree.Content
}

// store stores the bytes of changed files, small ones together, and returns where they are.
func (m *mount) store(ctx context.Context, changes *volfs.Changes) (map[*volfs.Cut]voltree.Content, error) {
	s := &storing{m: m, contents: map[*volfs.Cut]voltree.Content{}}
	s.group, ctx = errgroup.WithContext(ctx)
	s.group.SetLimit(stores)
	err := s.files(ctx, changes)
	// The first that fails to be stored ends ctx, and says more than what follows from that.
	if stored := s.group.Wait(); stored != nil {
		err = stored
	}
	return s.contents, err
}

func (s *storing) files(ctx context.Context, changes *volfs.Changes) error {
	var small pack
	for cut := range changes.Files() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if cut.Size > voltree.MaxPack {
			if err := s.large(ctx, cut); err != nil {
				return err
			}
			continue
		}
		if uint64(len(small.bytes))+cut.Size > voltree.MaxPack {
			s.packed(ctx, small)
			small = pack{}
		}
		bytes, err := cut.ReadBlock(ctx, 0)
		if err != nil {
			return err
		}
		small.files, small.at = append(small.files, cut), append(small.at, uint64(len(small.bytes)))
		small.bytes = append(small.bytes, bytes...)
	}
	if len(small.files) > 0 {
		s.packed(ctx, small)
	}
	return nil
}

// packed stores small files.
func (s *storing) packed(ctx context.Context, p pack) {
	s.group.Go(func() error {
		digest := ident.Digest(p.bytes)
		s.mu.Lock()
		for i, cut := range p.files {
			s.contents[cut] = voltree.Content{Digest: digest, Offset: p.at[i]}
		}
		s.mu.Unlock()
		return s.m.process.add(ctx, digest, p.bytes)
	})
}

// large stores a file in chunks, of which those that have not changed are there.
func (s *storing) large(ctx context.Context, cut *volfs.Cut) error {
	manifest := &cas.Manifest{Size: cut.Size, Chunks: make([]cas.Chunk, cut.Blocks())}
	chunks := s.group
	var pending sync.WaitGroup
	for i := range cut.Blocks() {
		chunk, ok, err := cut.Unchanged(ctx, i)
		if err != nil {
			return err
		}
		if ok {
			manifest.Chunks[i] = chunk
			continue
		}
		bytes, err := cut.ReadBlock(ctx, i)
		if err != nil {
			return err
		}
		pending.Add(1)
		chunks.Go(func() error {
			defer pending.Done()
			digest := ident.Digest(bytes)
			manifest.Chunks[i] = cas.Chunk{Digest: digest, Size: uint32(len(bytes))} //nolint:gosec // at most volfs.BlockSize
			return s.m.process.add(ctx, digest, bytes)
		})
	}
	pending.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	data, err := manifest.Encode()
	if err != nil {
		return err
	}
	digest := ident.Digest(data)
	s.mu.Lock()
	s.contents[cut] = voltree.Content{Digest: digest, Chunked: true}
	s.mu.Unlock()
	return s.m.process.add(ctx, digest, data)
}

// add has a blob stored, and keeps it at hand.
func (p *Process) add(ctx context.Context, digest string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if _, err := p.worker.Call(ctx, beside.Request{Op: opAdd, Args: blobArgs{Digest: digest}, Data: data}, nil); err != nil {
		return fmt.Errorf("blob %s: %w", digest, err)
	}
	if len(data) <= cas.MaxChunk {
		p.chunks.Keep(ctx, digest, data)
	}
	return nil
}

// apply makes a version of changes whose bytes are stored.
func (m *mount) apply(ctx context.Context, changes *volfs.Changes, contents map[*volfs.Cut]voltree.Content) (v Version, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	params := CommitParams{VolumeID: m.Mount.VolumeID, RequestID: ident.Random(requestLength), ContainerID: m.ContainerID}
	first := true
	stage := func(list []voltree.Change) error {
		data, err := json.Marshal(list)
		if err != nil {
			return err
		}
		_, err = m.process.worker.Call(ctx, beside.Request{Op: opStage, Args: stageArgs{params, first}, Data: data}, nil)
		first = false
		return err
	}
	list := make([]voltree.Change, 0, maxStaged)
	for change, err := range changes.All(ctx, contents) {
		if err != nil {
			return v, err
		}
		if change.Remove {
			list = append(list, voltree.Change{Verb: voltree.Remove, Path: change.Path, Recursive: true, MissingOK: true})
		} else {
			list = append(list, voltree.Change{Verb: voltree.Put, Path: change.Path, Entry: change.Entry})
		}
		if len(list) == maxStaged {
			if err := stage(list); err != nil {
				return v, err
			}
			list = list[:0]
		}
	}
	if err := stage(list); err != nil {
		return v, err
	}
	_, err = m.process.worker.Call(ctx, asks(opApply, params), &v)
	return v, err
}

// requestLength is how long the ids of requests are.
const requestLength = 22

// reload shows the newest version, after what was written has been committed.
func (m *mount) reload(ctx context.Context) (uint64, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	p := m.process
	for {
		var v Version
		if _, err := p.worker.Call(ctx, asks(opOpen, openArgs{m.Mount.VolumeID}), &v); err != nil {
			return 0, err
		}
		m.mu.Lock()
		same := m.version.Root == v.Root && !m.apart
		m.mu.Unlock()
		if same {
			return v.Number, nil
		}
		root, _, err := p.root(ctx, v, m.Mount.SubPath)
		if err != nil {
			return 0, err
		}
		if m.fs.Show(root) {
			m.mu.Lock()
			m.version, m.base, m.apart = v, v.Root, false
			m.mu.Unlock()
			return v.Number, nil
		}
		// Something was written meanwhile.
		if _, err := m.commitNow(ctx); err != nil {
			return 0, err
		}
		if ctx.Err() != nil {
			return 0, fault.New(fault.Unavailable, "it is being written to all the time: %w", context.Cause(ctx))
		}
	}
}
