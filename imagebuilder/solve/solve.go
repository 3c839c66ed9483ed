package solve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/client"
	gwclient "github.com/moby/buildkit/frontend/gateway/client"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	solver "github.com/moby/buildkit/solver/errdefs"
	"github.com/tonistiigi/fsutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/llb"
	"github.com/skerry-dev/skerry/imagebuilder/login"
	"github.com/skerry-dev/skerry/imagebuilder/runtime"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Request is a plan to be carried out.
type Request struct {
	// Plan says what to do, once there is a front end that reads Dockerfiles. It is called again where the daemon died.
	Plan func(context.Context, llb.FrontEnd) (*llb.Plan, error)
	// Layouts are the folders of the OCI layouts that the plan takes from llb.BaseStore.
	Layouts []string
	// Registry names the image of a registry that the plan takes, if it does, and Login what that is logged in to with.
	Registry string
	Login    login.Credentials
	// CacheNames are those under which results are shared, see recipe.Beginnings; none: they are not.
	CacheNames []string
	// Shared is what is shared with other builders through the blob store, in place of what CacheNames name; nil: nothing.
	Shared *Shared
	// RuntimeDir is the folder of what runs build functions; may be empty.
	RuntimeDir string
	// Secrets are what the plan's steps name: llb.CASecret and settings.
	Secrets map[string][]byte
	// Trees are the files of the plan's trees.
	Trees map[string][]build.File
	// Blobs holds the contents of those files.
	Blobs build.Blobs
	// Events hears how it goes.
	Events build.Events
	// Export reads the tar of the result to its end and returns nil once it is stored.
	Export func(ctx context.Context, tar io.Reader) error
}

// exportName is the last step of every build.
const exportName = "store image"

// noticeTimeout is how long it may take until the end of a daemon that no longer answers is known.
const noticeTimeout = 10 * time.Second

// Solve carries out a plan; where the daemon dies under it, once more on the next one, which has what was done in its cache, and where
// shared results can't be read, once more without them. When it returns the image is stored; results that are given to others follow. Errors:
// *build.FailedError where a step failed; fault.Unavailable where the daemon went away; what Export returns.
func (d *Daemon) Solve(ctx context.Context, r Request) error {
	err := d.retry(ctx, func() (*serving, error) { return d.solve(ctx, r) })
	if broken := new(brokenError); errors.As(err, &broken) && ctx.Err() == nil {
		d.log.Warn("a build is begun again without the results of other builders", "err", err)
		without := *r.Shared
		without.Bundles, without.Known = nil, false
		r.Shared = &without
		err = d.retry(ctx, func() (*serving, error) { return d.solve(ctx, r) })
	}
	return err
}

// brokenError is the end of a solve by shared results that could not be read.
type brokenError struct {
	BrokenContent
	error
}

func (b *brokenError) Unwrap() error { return b.error }

// retry does once more what the death of the daemon has ended.
func (d *Daemon) retry(ctx context.Context, do func() (*serving, error)) error {
	now, err := do()
	if now == nil || d.config.Address != "" || !errors.Is(err, fault.Unavailable) {
		return err
	}
	t := time.NewTimer(noticeTimeout)
	defer t.Stop()
	select {
	case <-now.gone:
		_, err = do()
	case <-t.C:
	case <-ctx.Done():
	}
	return err
}

func (d *Daemon) solve(ctx context.Context, r Request) (now *serving, err error) {
	c, now, err := d.connect(ctx)
	if err != nil {
		return now, err
	}
	// What follows the image goes on when the caller has gone.
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	release := func() { cancel(nil); _ = c.Close() } // nothing is written any more
	follow := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	defer follow()
	p := newProgress(r.Events, d.config.Mark)
	e := &exporter{ctx: inner, cancel: cancel, export: r.Export, started: p.exporting}
	options, err := r.options(e)
	if err != nil {
		release()
		return now, err
	}
	run := &attempt{request: r, progress: p, secrets: maps.Clone(r.Secrets), client: c, options: options}
	run.options.Session = append(run.options.Session, secretsprovider.FromMap(run.secrets))
	if r.Shared == nil {
		run.options.CacheImports, run.options.CacheExports = d.config.Cache.imports(r.CacheNames), d.config.Cache.exports(r.CacheNames)
	} else if run.exchanging, err = d.exchange(inner, c, r.Shared, &run.options); err != nil {
		release()
		return now, err
	}
	run.begin(inner)
	select {
	case <-run.ended:
	case <-run.stored():
		// The image is there unless its export failed, which ends the solve.
		if e.wait(nil) == nil && follow() {
			p.end(true)
			d.after(run, cancel, release)
			return now, nil
		}
		<-run.ended
	}
	defer release()
	return now, run.outcome(inner, e)
}

// outcome is the error of a solve that has ended.
func (a *attempt) outcome(ctx context.Context, e *exporter) error {
	err := a.solveErr
	if a.err != nil && ctx.Err() == nil {
		return a.err
	}
	blame := e.blame()
	if exportErr := e.wait(err); blame == nil && err == nil {
		blame = exportErr
	}
	if blame != nil {
		a.progress.end(false)
		return fmt.Errorf("%s: %w", exportName, blame)
	}
	a.progress.end(err == nil)
	return a.broken(ctx, a.progress.explain(ctx, err))
}

// attempt is one solve of a request.
type attempt struct {
	request    Request
	progress   *progress
	client     *client.Client
	options    client.SolveOpt
	exchanging *exchanging       // nil: nothing is shared through the blob store
	secrets    map[string][]byte // read by the solve only after what plans it has ended

	err      error         // why there is no plan
	ended    chan struct{} // closed when the solve has ended
	response *client.SolveResponse
	solveErr error
}

// begin begins the solve; its end closes ended.
func (a *attempt) begin(ctx context.Context) {
	a.ended = make(chan struct{})
	if a.exchanging != nil {
		a.progress.watch(a.exchanging.exportVertex())
	}
	statuses := make(chan *client.SolveStatus)
	var reader sync.WaitGroup
	reader.Go(func() {
		for s := range statuses {
			a.progress.status(s)
		}
	})
	go func() {
		defer close(a.ended)
		a.response, a.solveErr = a.client.Build(ctx, a.options, "", a.build, statuses)
		reader.Wait()
		if a.exchanging != nil {
			// What is left of it lies in a folder that is emptied at the next start.
			_ = a.exchanging.close()
		}
	}()
}

// build plans and has the plan carried out.
func (a *attempt) build(ctx context.Context, c gwclient.Client) (*gwclient.Result, error) {
	plan, err := a.request.Plan(ctx, frontEnd{client: c})
	if err != nil {
		a.err = err
		return nil, err
	}
	for id, value := range plan.Values {
		a.secrets[id] = []byte(value)
	}
	a.progress.begin(plan)
	imports := forGateway(a.options.CacheImports)
	if a.exchanging != nil {
		imports = a.exchanging.imports(a.exchanging.place)
	}
	return c.Solve(ctx, gwclient.SolveRequest{Evaluate: true, Definition: plan.Definition.ToPB(), CacheImports: imports})
}

func (r Request) options(e *exporter) (client.SolveOpt, error) {
	o := client.SolveOpt{
		OCIStores:   map[string]content.Store{llb.BaseStore: layouts(r.Layouts)},
		LocalMounts: map[string]fsutil.FS{},
		// The client adds to them.
		FrontendAttrs: map[string]string{},
		Exports: []client.ExportEntry{{
			Type:   client.ExporterTar,
			Output: func(map[string]string) (io.WriteCloser, error) { return e.begin(), nil },
		}},
	}
	if named, err := reference.ParseNormalizedNamed(r.Registry); err == nil {
		o.Session = append(o.Session, loginTo(named, r.Login))
	}
	for digest, files := range r.Trees {
		o.LocalMounts[llb.LocalName(digest)] = newTree(files, r.Blobs)
	}
	if r.RuntimeDir != "" {
		dir, err := fsutil.NewFS(r.RuntimeDir)
		if err != nil {
			return o, fault.New(fault.Precondition, "what runs build functions: %w", err)
		}
		o.LocalMounts[llb.Runtime] = dir
	}
	return o, nil
}

// exporter passes the result's tar on while the solve writes it.
type exporter struct {
	ctx     context.Context //nolint:containedctx // that of the solve, which calls begin without one
	cancel  context.CancelCauseFunc
	export  func(context.Context, io.Reader) error
	started func()

	mu   sync.Mutex // of w and done, which begin sets
	w    *io.PipeWriter
	done chan struct{}
	err  error // once done is closed
}

// begin starts the export; the solve writes what it returns.
func (e *exporter) begin() io.WriteCloser {
	e.started()
	r, w := io.Pipe()
	done := make(chan struct{})
	e.mu.Lock()
	e.w, e.done = w, done
	e.mu.Unlock()
	go func() {
		defer close(done)
		if e.err = e.export(e.ctx, r); e.err != nil {
			e.cancel(exportError{e.err})
		}
		_ = r.CloseWithError(e.err) // never fails
	}()
	return w
}

// wait ends the export after the solve and returns its error.
func (e *exporter) wait(solveErr error) error {
	e.mu.Lock()
	w, done := e.w, e.done
	e.mu.Unlock()
	if w == nil {
		return nil
	}
	if solveErr != nil {
		_ = w.CloseWithError(solveErr) // never fails
	}
	<-done
	return e.err
}

// blame returns the error of an export that ended the solve, not the other way round.
func (e *exporter) blame() error {
	var x exportError
	if errors.As(context.Cause(e.ctx), &x) {
		return x.error
	}
	return nil
}

// exportError is the cause of a solve's end that its export gave.
type exportError struct{ error }

// explain turns the error of a solve into that of a build.
func (p *progress) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	f := &build.FailedError{Message: err.Error()}
	step := p.failed
	if v := new(solver.VertexError); errors.As(err, &v) {
		step = p.vertexStep(v.Digest)
	}
	if exit := new(gateway.ExitError); errors.As(err, &exit) {
		f.ExitCode = int(exit.ExitCode)
		f.Message = exitMessage(f.ExitCode)
	} else if code := status.Code(err); code == codes.Unavailable || step == 0 {
		return fault.New(fault.Unavailable, "buildkitd: %w", err)
	}
	if step > 0 {
		f.RecipeStep = p.plan.Steps[step-1].RecipeStep
		f.Step, f.Command = p.plan.Steps[step-1].Name, p.plan.Steps[step-1].Command
		f.LastLines = p.steps[step-1].last
		v := p.steps[step-1].verdict
		if reason, ok := runtime.Again(v); ok {
			return fault.New(fault.Unavailable, "image step %q: %s; build it again", f.Step, reason)
		}
		if v != "" {
			f.Message = v
		}
	}
	return f
}

func exitMessage(code int) string {
	const killed = 137
	if code == killed {
		return "the command was killed (exit code 137); it may have used more memory than a build step has"
	}
	return fmt.Sprintf("the command ended with exit code %d", code)
}

// since is the time between two moments of which either may be missing.
func since(from, to *time.Time) time.Duration {
	if from == nil || to == nil {
		return 0
	}
	return max(to.Sub(*from), 0)
}
