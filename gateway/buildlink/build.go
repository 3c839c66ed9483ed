package buildlink

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/gateway/layer"
	"github.com/skerry-dev/skerry/gateway/mount"
	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	buildv1 "github.com/skerry-dev/skerry/internal/gen/skerry/build/v1"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/wire"
)

// PythonSeries implements image.Builder: what any builder has. Hosts may have different interpreters.
func (h *Hub) PythonSeries(ctx context.Context) (series []string, hint string, err error) {
	var hints []string
	asked := map[*builder]bool{}
	for {
		err = h.using(ctx, asked, func(b *builder) error {
			res, err := b.client.ListPythonSeries(ctx, connect.NewRequest(&buildv1.ListPythonSeriesRequest{}))
			if err != nil {
				return fault.FromConnect(err)
			}
			asked[b] = true
			for _, s := range res.Msg.GetSeries() {
				if !slices.Contains(series, s) {
					series = append(series, s)
				}
			}
			if !slices.Contains(hints, res.Msg.GetHint()) {
				hints = append(hints, res.Msg.GetHint())
			}
			return nil
		})
		switch {
		case errors.Is(err, errNoOther):
			// As text, 3.9 would come after 3.11.
			slices.SortFunc(series, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
			slices.Sort(hints)
			return series, strings.Join(hints, "; "), nil
		case err != nil:
			return nil, "", err
		}
	}
}

// maxLost is how many builders may be lost during one request before it is given up: it may be what ends them.
const maxLost = 3

// errNoOther says that there is no builder but those that are not wanted.
var errNoOther = errors.New("no other builder")

// using has one builder do something, and another where that is lost meanwhile. With some that are not wanted it does not wait for others.
func (h *Hub) using(ctx context.Context, but map[*builder]bool, do func(*builder) error) error {
	var lost error
	for range maxLost {
		err := h.once(ctx, but, do)
		if !errors.As(err, new(*lostError)) {
			return err
		}
		h.log.Warn("builder lost, going on with another", "error", err)
		lost = err
	}
	return fault.New(fault.Unavailable, "%d builders were lost, one after the other: %w", maxLost, lost)
}

func (h *Hub) once(ctx context.Context, but map[*builder]bool, do func(*builder) error) error {
	b, release, err := h.acquire(ctx, but)
	if err != nil {
		return err
	}
	defer release()
	err = do(b)
	// One that stops in good order ends its builds before its link.
	if err != nil && ctx.Err() == nil && (!b.link.Usable() || errors.Is(err, context.Canceled)) {
		return &lostError{err}
	}
	return err
}

// lostError is what came of a request to a builder that was lost.
type lostError struct{ error }

func (l *lostError) Unwrap() error { return l.error }

// Build implements image.Builder.
func (h *Hub) Build(ctx context.Context, job image.Job, emit func(image.Event)) (im *image.Image, failure *image.Failure, err error) {
	req := &buildv1.BuildRequest{ImageId: job.ImageID, Recipe: &skerryv1.Recipe{}, NoCache: job.NoCache}
	if err := proto.Unmarshal(job.Recipe, req.GetRecipe()); err != nil {
		return nil, nil, fault.New(fault.Invalid, "recipe of image %q: %w", job.ImageID, err)
	}
	if b := job.Base; b != nil {
		req.Existing = &buildv1.Built{
			Erofs: wire.RefToProto(b.EROFS), Chunked: b.Chunked, Env: b.Env, Workdir: b.Workdir,
			Entrypoint: b.Entrypoint, Cmd: b.Cmd, Shell: b.Shell, User: b.User,
		}
	}
	for _, t := range job.Trees {
		req.Trees = append(req.Trees, treeToProto(t))
	}
	for _, step := range slices.Sorted(maps.Keys(job.Secrets)) {
		req.Secrets = append(req.Secrets, &buildv1.StepSecrets{Step: uint32(step), Variables: job.Secrets[step]})
	}
	var found layer.Recipe
	if !job.NoCache {
		if found, err = beginnings(req.GetRecipe()); err != nil {
			return nil, nil, err
		}
	}
	im, failure, err = h.buildAnywhere(ctx, req, found, emit)
	if err == nil && im != nil {
		err = h.claim(ctx, im)
	}
	if err != nil {
		return nil, nil, err
	}
	return im, failure, nil
}

// buildAnywhere has one builder build, and another where that lacks what it takes, such as an interpreter of its host.
func (h *Hub) buildAnywhere(
	ctx context.Context, req *buildv1.BuildRequest, found layer.Recipe, emit func(image.Event),
) (im *image.Image, failure *image.Failure, err error) {
	lacking := map[*builder]bool{}
	for {
		var refusal error
		other := h.using(ctx, lacking, func(b *builder) (err error) {
			req.Shared = h.share(ctx, b, found)
			defer h.opens(b, req.GetRecipe())()
			im, failure, err = b.build(ctx, req, emit)
			if errors.Is(err, fault.Precondition) {
				lacking[b], refusal = true, err
			}
			return err
		})
		if refusal == nil && !errors.Is(other, errNoOther) {
			return im, failure, other
		}
		if refusal == nil {
			return nil, nil, err
		}
		err = refusal
	}
}

// claim refuses an image that is not all there: once it is known it would never be built again, and no collection could tell what it needs.
func (h *Hub) claim(ctx context.Context, im *image.Image) error {
	size := im.EROFS.Size
	var err error
	if im.Chunked {
		var m *cas.Manifest
		if m, err = cas.Claim(ctx, h.blobs, im.EROFS.Digest); err == nil {
			size = m.Size
		}
	} else {
		size, err = h.blobs.Claim(ctx, im.EROFS.Digest)
	}
	if err == nil && size != im.EROFS.Size {
		err = fault.New(fault.DataLoss, "has %d bytes, not %d", size, im.EROFS.Size)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "the builder has not stored all of it; try again: %v", err)
	}
	return nil
}

func (b *builder) build(ctx context.Context, req *buildv1.BuildRequest, emit func(image.Event)) (im *image.Image, failure *image.Failure, err error) {
	stream, err := b.client.Build(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, nil, fault.FromConnect(err)
	}
	defer func() { err = errors.Join(err, fault.FromConnect(stream.Close())) }()
	for stream.Receive() {
		switch e := stream.Msg().GetEvent().(type) {
		case *buildv1.BuildResponse_Step:
			emit(stepFromProto(e.Step))
		case *buildv1.BuildResponse_Log:
			emit(image.Event{Log: &image.Log{Step: e.Log.GetStep(), Lines: e.Log.GetLines()}})
		case *buildv1.BuildResponse_Built:
			ref, err := wire.AnyRefFromProto(e.Built.GetErofs())
			if err != nil {
				return nil, nil, err
			}
			return &image.Image{
				EROFS: ref, Chunked: e.Built.GetChunked(), Env: e.Built.GetEnv(), Workdir: e.Built.GetWorkdir(),
				Entrypoint: e.Built.GetEntrypoint(), Cmd: e.Built.GetCmd(), Shell: e.Built.GetShell(), User: e.Built.GetUser(),
			}, nil, nil
		case *buildv1.BuildResponse_Failed:
			return nil, failureFromProto(e.Failed), nil
		}
	}
	if err := stream.Err(); err != nil {
		return nil, nil, fault.FromConnect(err)
	}
	return nil, nil, fault.New(fault.Unavailable, "the builder ended the build without an outcome")
}

func treeToProto(t *mount.Tree) *buildv1.Tree {
	m := &buildv1.Tree{TreeDigest: t.Digest, Files: make([]*buildv1.TreeFile, 0, len(t.Files))}
	for _, f := range t.Files {
		m.Files = append(m.Files, &buildv1.TreeFile{Path: f.Path, Blob: wire.RefToProto(f.Blob), Mode: f.Mode})
	}
	return m
}

func stepFromProto(m *skerryv1.BuildStep) image.Event {
	return image.Event{Step: &image.Step{
		Number: m.GetNumber(), Total: m.GetTotal(), Name: m.GetName(), State: image.StepState(m.GetState()),
		Elapsed: time.Duration(m.GetElapsedMs()) * time.Millisecond, RecipeStep: m.GetRecipeStep(),
	}}
}

func failureFromProto(m *skerryv1.BuildFailed) *image.Failure {
	return &image.Failure{
		Step: m.GetStep(), Command: m.GetCommand(), ExitCode: m.GetExitCode(), LastLines: m.GetLastLines(), Message: m.GetMessage(),
		RecipeStep: m.GetRecipeStep(),
	}
}
