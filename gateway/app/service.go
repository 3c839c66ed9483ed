package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// InitializingWindow is how long an app lives that was made to be deployed and never was.
const InitializingWindow = 24 * time.Hour

// Deps are the parts of a Service. All are required.
type Deps struct {
	Store      Store
	Versions   Versions
	Functions  function.Store
	Runtime    Runtime
	References References
	Secrets    Secrets
	Schedules  Schedules
	Log        *slog.Logger
	// Window is how long an app lives without a heartbeat; 0: HeartbeatWindow.
	Window time.Duration
}

// Service makes, publishes and stops apps, and stops those whose client has vanished. It is safe for concurrent use.
type Service struct {
	d     Deps
	group *lifecycle.Group

	mu    sync.Mutex
	lives map[string]*life
}

// life is what memory holds of an app that is not stopped.
type life struct {
	timer *time.Timer   // ends the app unless a heartbeat comes; nil for deployed ones
	done  chan struct{} // closed when the app is stopped
}

// New returns a Service. Run is to be called for apps to end by themselves.
func New(d Deps) *Service {
	if d.Window == 0 {
		d.Window = HeartbeatWindow
	}
	return &Service{d: d, group: lifecycle.NewGroup(context.Background()), lives: map[string]*life{}}
}

// Run gives every living app a fresh heartbeat window and the containers it keeps, goes on with the stops that a crash broke off, and
// blocks until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	apps, err := s.d.Store.Apps(ctx, "", time.Now().Add(time.Hour))
	if err != nil {
		return fmt.Errorf("apps: %w", err)
	}
	for _, a := range apps {
		if a.State == Stopping {
			s.group.Go("stop app "+a.ID, func(ctx context.Context) error { s.finish(ctx, a.ID, a.StopReason, nil); return nil })
			continue
		}
		s.arm(a.ID, a.State)
		if err := s.revive(ctx, a.ID); err != nil {
			return err
		}
	}
	<-ctx.Done()
	s.mu.Lock()
	for _, l := range s.lives {
		if l.timer != nil {
			l.timer.Stop()
		}
	}
	s.mu.Unlock()
	return errors.Join(s.group.Stop(), context.Cause(ctx))
}

func (s *Service) revive(ctx context.Context, id string) error {
	functions, err := s.d.Functions.AppFunctions(ctx, id)
	if err != nil {
		return fmt.Errorf("app %q: %w", id, err)
	}
	return s.d.Runtime.Published(ctx, functions, nil, false)
}

// Create makes an app without functions. State is Initializing, Ephemeral or Detached. Errors: fault.Invalid.
func (s *Service) Create(ctx context.Context, a App) (*App, error) {
	if a.Description == "" || len(a.Description) > 64 || strings.ContainsAny(a.Description, "\x00\r\n") {
		return nil, fault.New(fault.Invalid, "app description %.80q: want 1 to 64 bytes in one line", a.Description)
	}
	if a.State < Initializing || a.State > Detached {
		return nil, fault.New(fault.Invalid, "app state %d: a new app is ephemeral, detached or initializing", a.State)
	}
	if err := CheckTags(a.Tags); err != nil {
		return nil, err
	}
	a.ID, a.Name, a.Version, a.CreatedAt = ident.New(ident.App), "", 0, time.Now()
	if err := s.d.Store.CreateApp(ctx, a); err != nil {
		return nil, err
	}
	s.arm(a.ID, a.State)
	return &a, nil
}

// Find returns an app by its id or, where it is deployed in the environment of an id, its name. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Find(ctx context.Context, environment, key string) (*App, error) {
	if ident.Check(ident.App, key) == nil {
		return s.d.Store.App(ctx, key)
	}
	if err := ident.CheckName("app", key); err != nil {
		return nil, err
	}
	return s.d.Store.AppByName(ctx, environment, key)
}

// FindListed is Find that also takes the name of an app that is not deployed any more but was stopped lately: the one stopped last.
func (s *Service) FindListed(ctx context.Context, environment, key string) (*App, error) {
	a, err := s.Find(ctx, environment, key)
	if !errors.Is(err, fault.NotFound) || ident.Check(ident.App, key) == nil {
		return a, err
	}
	apps, listErr := s.List(ctx, environment)
	if listErr != nil {
		return nil, listErr
	}
	var last *App
	for i := range apps {
		if apps[i].Name == key && (last == nil || apps[i].StoppedAt.After(last.StoppedAt)) {
			last = &apps[i]
		}
	}
	if last == nil {
		return nil, err
	}
	return last, nil
}

// Lookup returns a deployed app by name; with create it deploys an empty one where there is none. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Lookup(ctx context.Context, environment, name string, create bool, by Deployment) (*App, error) {
	if err := ident.CheckName("app", name); err != nil {
		return nil, err
	}
	a, err := s.d.Store.AppByName(ctx, environment, name)
	if !errors.Is(err, fault.NotFound) || !create {
		return a, err
	}
	p, err := s.Publish(ctx, Publication{Name: name, Environment: environment, Deployment: by})
	if errors.Is(err, fault.Exists) { // another client was faster
		return s.d.Store.AppByName(ctx, environment, name)
	}
	if err != nil {
		return nil, err
	}
	return &p.App, nil
}

// Publish gives an app its functions. With a name it deploys to the app of that name; where there is none, the app of the given id gets
// the name, or a new app. An app made for a deployment whose name another app has gives that one its secrets and is gone. Errors: fault.Invalid, fault.NotFound (app, image, mount, secret), fault.Precondition (stopped).
func (s *Service) Publish(ctx context.Context, p Publication) (*Published, error) {
	if err := s.prepare(ctx, &p); err != nil {
		return nil, err
	}
	if p.AppID == "" {
		a := App{ID: ident.New(ident.App), Environment: p.Environment, Description: p.Name, State: Initializing, CreatedAt: time.Now()}
		if err := s.d.Store.CreateApp(ctx, a); err != nil {
			return nil, err
		}
		p.AppID = a.ID
		s.arm(a.ID, a.State)
	}
	done, err := s.d.Versions.PublishApp(ctx, p)
	if err != nil {
		return nil, err
	}
	s.arm(done.App.ID, done.App.State)
	if p.AppID != done.App.ID {
		s.bury(p.AppID)
	}
	if done.Unchanged {
		return done, nil
	}
	if err := s.d.Runtime.Published(ctx, done.Functions, done.Removed, p.Recreate); err != nil {
		return nil, fmt.Errorf("app %q: published, but its containers are not up to date: %w", done.App.ID, err)
	}
	if done.App.State == Deployed {
		if err := s.d.Schedules.Published(ctx, done.App.ID); err != nil {
			return nil, fmt.Errorf("app %q: published, but its schedules are not up to date: %w", done.App.ID, err)
		}
	}
	return done, nil
}

// prepare checks a publication, fills in defaults, and finds the app that it is for.
func (s *Service) prepare(ctx context.Context, p *Publication) (err error) {
	if err := CheckTags(p.Tags); err != nil {
		return err
	}
	if p.Name == "" && p.AppID == "" {
		return fault.New(fault.Invalid, "publication: neither an app nor a deployment name")
	}
	if p.Deployment.Tag != "" {
		if err := ident.CheckTag(p.Deployment.Tag); err != nil {
			return err
		}
	}
	owner := p.AppID // of the secrets, which were made before the deployment
	if p.AppID != "" {
		if err := ident.Check(ident.App, p.AppID); err != nil {
			return err
		}
	}
	if p.Name != "" {
		if err := ident.CheckName("app", p.Name); err != nil {
			return err
		}
		deployed, err := s.d.Store.AppByName(ctx, p.Environment, p.Name)
		switch {
		case errors.Is(err, fault.NotFound):
		case err != nil:
			return err
		case p.AppID == "":
			p.AppID, owner = deployed.ID, deployed.ID
		}
	}
	if err := s.check(ctx, owner, p.Functions); err != nil {
		return err
	}
	return s.checkVolumes(ctx, p)
}

// checkVolumes checks those that functions mount: they are of the app's environment.
func (s *Service) checkVolumes(ctx context.Context, p *Publication) error {
	environment := ""
	for i := range p.Functions {
		for _, m := range p.Functions[i].Volumes {
			if environment == "" {
				if environment = p.Environment; p.AppID != "" {
					a, err := s.d.Store.App(ctx, p.AppID)
					if err != nil {
						return err
					}
					environment = a.Environment
				}
			}
			if err := s.d.References.CheckVolume(ctx, environment, m.VolumeID); err != nil {
				return fmt.Errorf("function %q: %w", p.Functions[i].Name, err)
			}
		}
	}
	return nil
}

func (s *Service) check(ctx context.Context, owner string, definitions []function.Definition) error {
	if len(definitions) > maxFunctions {
		return fault.New(fault.Invalid, "%d functions in one app, at most %d", len(definitions), maxFunctions)
	}
	names := map[string]bool{}
	for i := range definitions {
		d, err := definitions[i].Checked()
		if err != nil {
			return err
		}
		if names[d.Name] {
			return fault.New(fault.Invalid, "function %q: defined twice", d.Name)
		}
		names[d.Name] = true
		if err := s.d.Schedules.Check(d.Schedule); err != nil {
			return fault.New(fault.Invalid, "function %q: %w", d.Name, err)
		}
		definitions[i] = d
		if err := s.checkReferences(ctx, owner, &d); err != nil {
			return fmt.Errorf("function %q: %w", d.Name, err)
		}
	}
	return nil
}

func (s *Service) checkReferences(ctx context.Context, owner string, d *function.Definition) error {
	if err := s.d.References.CheckImage(ctx, d.ImageID); err != nil {
		return err
	}
	if p := d.Serialized; p != nil && p.Blob != nil {
		if err := s.d.References.CheckBlob(ctx, p.Blob.Digest); err != nil {
			return err
		}
	}
	for _, m := range d.Mounts {
		if err := s.d.References.CheckTree(ctx, m.TreeDigest); err != nil {
			return err
		}
	}
	for _, id := range slices.Concat(d.SecretIDs, function.BucketSecrets(d.Buckets)) {
		if err := s.d.References.CheckSecret(ctx, owner, id); err != nil {
			return err
		}
	}
	return nil
}

// Heartbeat says that the app's client is alive. Errors: fault.NotFound, fault.Precondition (stopped).
func (s *Service) Heartbeat(ctx context.Context, id string) error {
	if err := ident.Check(ident.App, id); err != nil {
		return err
	}
	s.mu.Lock()
	l := s.lives[id]
	if l != nil && l.timer != nil && l.timer.Stop() {
		l.timer.Reset(s.d.Window)
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	a, err := s.d.Store.App(ctx, id)
	if err != nil {
		return err
	}
	if !a.Living() {
		return fault.New(fault.Precondition, "app %q: is stopped (%s)", id, a.StopReason)
	}
	return nil
}

// List returns the apps that live or stopped in the last day, newest first.
func (s *Service) List(ctx context.Context, environment string) ([]App, error) {
	return s.d.Store.Apps(ctx, environment, time.Now().Add(-ListedAfterStop))
}

// History returns an app's deployments, newest first. Errors: fault.Invalid, fault.NotFound.
func (s *Service) History(ctx context.Context, environment, key string) ([]Deployment, error) {
	a, err := s.Find(ctx, environment, key)
	if err != nil {
		return nil, err
	}
	return s.d.Versions.Deployments(ctx, a.ID)
}

// String names the reason for messages.
func (r StopReason) String() string {
	names := []string{
		"no reason was given", "its entrypoint returned", "it was interrupted", "the client's code raised", "somebody asked for it",
		"its client vanished", "it was made for an app that is deployed",
	}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}
