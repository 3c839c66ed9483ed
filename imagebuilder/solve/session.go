package solve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	sessioncontent "github.com/moby/buildkit/session/content"
	"github.com/moby/buildkit/session/filesync"
	"github.com/moby/buildkit/session/grpchijack"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/internal/fault"
)

// GiveTimeout is how long it may take until the results of a build are stored for other builders.
const GiveTimeout = 30 * time.Minute

// exchanging is a solve with a session of our own: BuildKit's client lets no other store than its own folders serve shared results.
type exchanging struct {
	*exchange
	place   string // names the store; a folder that BuildKit's client wants to write an index into
	session *session.Session
	cancel  context.CancelFunc
	ended   sync.WaitGroup
}

// exchange gives a solve a session that serves what the options say, and shared results.
func (d *Daemon) exchange(ctx context.Context, c *client.Client, s *Shared, o *client.SolveOpt) (x *exchanging, err error) {
	ctx, cancel := context.WithCancel(ctx)
	x = &exchanging{exchange: newExchange(ctx, s, d.writers), cancel: cancel}
	defer func() {
		if err != nil {
			cancel()
			err = errors.Join(err, os.RemoveAll(x.place))
		}
	}()
	if x.place, err = os.MkdirTemp(s.Dir, "results-"); err != nil {
		return nil, fmt.Errorf("shared results: %w", err)
	}
	if x.session, err = session.NewSession(ctx, ""); err != nil {
		return nil, fmt.Errorf("shared results: %w", err)
	}
	folders := filesync.StaticDirSource{}
	for name, mount := range o.LocalMounts {
		if folders[name], err = fsutil.NewFilterFS(mount, &fsutil.FilterOpt{Map: ownedByRoot}); err != nil {
			return nil, err
		}
	}
	stores := map[string]content.Store{CacheFolder + ":" + x.place: x.exchange}
	for name, store := range o.OCIStores {
		stores["oci:"+name] = store
	}
	for _, a := range append(o.Session,
		filesync.NewFSSyncProvider(folders), filesync.NewFSSyncTarget(filesync.WithFSSync(0, o.Exports[0].Output)), sessioncontent.NewAttachable(stores),
	) {
		x.session.Allow(a)
	}
	o.SharedSession, o.SessionPreInitialized = x.session, true
	o.CacheExports = x.exports(x.place)
	x.ended.Go(func() {
		// It ends with the solve, whose own error tells more.
		_ = x.session.Run(ctx, grpchijack.Dialer(c.ControlClient()))
	})
	return x, nil
}

func ownedByRoot(_ string, s *types.Stat) fsutil.MapResult {
	s.Uid, s.Gid = 0, 0
	return fsutil.MapResultKeep
}

// close ends the session after the solve.
func (x *exchanging) close() error {
	x.cancel()
	err := x.session.Close()
	x.ended.Wait()
	return errors.Join(err, os.RemoveAll(x.place))
}

// exportVertex is the digest under which BuildKit tells how the export of a session's result goes.
func (x *exchanging) exportVertex() string {
	return digest.FromString(x.session.ID() + "-export-0").String()
}

// give has other builders find what a solve has written.
func (x *exchanging) give(ctx context.Context, res *client.SolveResponse) error {
	text := res.ExporterResponse["cache.manifest"]
	if text == "" {
		return fault.New(fault.Unavailable, "buildkitd could not write them; its log says why")
	}
	var root ocispec.Descriptor
	if err := json.Unmarshal([]byte(text), &root); err != nil {
		return fmt.Errorf("buildkitd: %w", err)
	}
	b, err := x.bundle(root.Digest.String())
	if err != nil {
		return err
	}
	return x.s.Store(ctx, b)
}

// stored is closed when the result has been handed over whole, before results are given to others; nil, which never is, where none are.
func (a *attempt) stored() <-chan struct{} {
	if a.exchanging == nil {
		return nil
	}
	return a.progress.watched
}

// broken has the solve's error say that shared results could not be read, if it may be due to that.
func (a *attempt) broken(ctx context.Context, err error) error {
	if a.exchanging == nil {
		return err
	}
	b := a.exchanging.unreadable()
	if b == nil || ctx.Err() != nil {
		return err
	}
	if f := new(build.FailedError); err == nil || errors.As(err, &f) && f.ExitCode != 0 {
		return err
	}
	return &brokenError{*b, err}
}

// after gives a solve's results to others once its image is stored, unless others have them.
func (d *Daemon) after(a *attempt, cancel context.CancelCauseFunc, release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		cancel(errStopping)
		<-a.ended
		release()
		return
	}
	d.giving.Go("shared results", func(ctx context.Context) error {
		defer release()
		defer context.AfterFunc(ctx, func() { cancel(errStopping) })()
		t := time.AfterFunc(GiveTimeout, func() { cancel(fmt.Errorf("took longer than %s", GiveTimeout)) })
		defer t.Stop()
		if a.request.Shared.Known && !a.progress.ran() {
			cancel(errNothingNew)
			<-a.ended
			return nil
		}
		<-a.ended
		err := a.solveErr
		if err == nil {
			err = a.exchanging.give(ctx, a.response)
		}
		if err != nil && ctx.Err() == nil {
			d.log.Warn("results of a build are not shared with other builders", "err", err)
		}
		return nil
	})
}

var (
	errNothingNew = errors.New("others have all results")
	errStopping   = errors.New("the builder stops")
)
