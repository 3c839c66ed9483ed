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

// Solve carries out a plan; where the daemon dies under it, once more on the next one, which has what was done in its cache. Errors:
// *build.FailedError where a step failed; fault.Unavailable where the daemon went away; what Export returns.
func (d *Daemon) Solve(ctx context.Context, r Request) error {
	return d.retry(ctx, func() (*serving, error) { return d.solve(ctx, r) })
}

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
	defer func() { err = errors.Join(err, c.Close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := newProgress(r.Events, d.config.Mark)
	e := &exporter{ctx: ctx, cancel: cancel, export: r.Export, started: p.exporting}
	options, err := r.options(e)
	if err != nil {
		return now, err
	}
	options.CacheImports, options.CacheExports = d.config.Cache.imports(r.CacheNames), d.config.Cache.exports(r.CacheNames)
	statuses := make(chan *client.SolveStatus)
	var reader sync.WaitGroup
	reader.Go(func() {
		for s := range statuses {
			p.status(s)
		}
	})
	run := &attempt{request: r, progress: p, secrets: maps.Clone(r.Secrets), imports: options.CacheImports}
	options.Session = append(options.Session, secretsprovider.FromMap(run.secrets))
	_, err = c.Build(ctx, options, "", run.build, statuses)
	reader.Wait()
	if run.err != nil && ctx.Err() == nil {
		return now, run.err
	}
	blame := e.blame()
	if exportErr := e.wait(err); blame == nil && err == nil {
		blame = exportErr
	}
	if blame != nil {
		p.end(false)
		return now, fmt.Errorf("%s: %w", exportName, blame)
	}
	p.end(err == nil)
	return now, p.explain(ctx, err)
}

// attempt is one solve of a request.
type attempt struct {
	request  Request
	progress *progress
	imports  []client.CacheOptionsEntry
	secrets  map[string][]byte // read by the solve only after what plans it has ended
	err      error             // why there is no plan
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
	return c.Solve(ctx, gwclient.SolveRequest{Evaluate: true, Definition: plan.Definition.ToPB(), CacheImports: forGateway(a.imports)})
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

	w    *io.PipeWriter
	done chan struct{}
	err  error
}

// begin starts the export; the solve writes what it returns.
func (e *exporter) begin() io.WriteCloser {
	e.started()
	r, w := io.Pipe()
	e.w, e.done = w, make(chan struct{})
	go func() {
		defer close(e.done)
		if e.err = e.export(e.ctx, r); e.err != nil {
			e.cancel(exportError{e.err})
		}
		_ = r.CloseWithError(e.err) // never fails
	}()
	return w
}

// wait ends the export after the solve and returns its error.
func (e *exporter) wait(solveErr error) error {
	if e.w == nil {
		return nil
	}
	if solveErr != nil {
		_ = e.w.CloseWithError(solveErr) // never fails
	}
	<-e.done
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
		if v := p.steps[step-1].verdict; v != "" {
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
