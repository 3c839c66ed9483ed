package app

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Bounds.
const (
	maxTags      = 100
	maxFunctions = 10_000 // of one app
)

var tagText = regexp.MustCompile(`^[A-Za-z0-9._-]{1,63}$`)

// CheckTags returns a fault.Invalid for tags that can't be.
func CheckTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return fault.New(fault.Invalid, "app tags: %d, at most %d", len(tags), maxTags)
	}
	for key, value := range tags {
		if !tagText.MatchString(key) || !tagText.MatchString(value) {
			return fault.New(fault.Invalid, "app tag %.80q=%.80q: want 1 to 63 of [A-Za-z0-9._-] for both", key, value)
		}
	}
	return nil
}

// Redeployment asks to deploy what an app has or had.
type Redeployment struct {
	Environment, App string
	Version          uint32 // 0: the one before the newest
	Rollover         bool   // the newest, with fresh containers; Version is 0
	Recreate         bool
	By               Deployment // without Version
}

// Redeploy makes a new version of an earlier one, or of the newest. It returns the version that was taken. Errors: fault.Invalid,
// fault.NotFound (app, version), fault.Precondition (not deployed).
func (s *Service) Redeploy(ctx context.Context, r Redeployment) (*Published, uint32, error) {
	if r.Rollover && r.Version != 0 {
		return nil, 0, fault.New(fault.Invalid, "version %d: a rollover is of the newest version; roll back to deploy another", r.Version)
	}
	a, err := s.Find(ctx, r.Environment, r.App)
	if err != nil {
		return nil, 0, err
	}
	if a.State != Deployed {
		return nil, 0, fault.New(fault.Precondition, "app %q: is not deployed, and so has no versions", r.App)
	}
	history, err := s.d.Versions.Deployments(ctx, a.ID)
	if err != nil {
		return nil, 0, err
	}
	source, err := sourceVersion(a, history, r)
	if err != nil {
		return nil, 0, err
	}
	definitions, err := s.d.Versions.Definitions(ctx, a.ID, source)
	if err != nil {
		return nil, 0, err
	}
	by := r.By
	for _, d := range history {
		if d.Version == source {
			by.Commit, by.Tag, by.ClientVersion = d.Commit, d.Tag, d.ClientVersion
		}
	}
	done, err := s.Publish(ctx, Publication{
		AppID: a.ID, Name: a.Name, Environment: a.Environment, Functions: definitions, Deployment: by, Recreate: r.Recreate, Again: true,
	})
	return done, source, err
}

func sourceVersion(a *App, history []Deployment, r Redeployment) (uint32, error) {
	switch {
	case r.Rollover:
		return a.Version, nil
	case r.Version != 0:
		return r.Version, nil
	case len(history) < 2:
		return 0, fault.New(fault.Precondition, "app %q: has one version only; there is none before", a.Name)
	default:
		return history[1].Version, nil
	}
}

// Reserve returns ids for functions that the app of a deployment name or, where there is none, the app of an id is to have. Errors:
// fault.Invalid, fault.NotFound, fault.Precondition (stopped).
func (s *Service) Reserve(ctx context.Context, environment, id, name string, functions []string) (map[string]string, error) {
	if len(functions) > maxFunctions {
		return nil, fault.New(fault.Invalid, "%d functions, at most %d", len(functions), maxFunctions)
	}
	for _, f := range functions {
		if err := ident.CheckName("function", f); err != nil {
			return nil, err
		}
	}
	key := id
	if name != "" {
		if a, err := s.Find(ctx, environment, name); err == nil {
			key = a.ID
		} else if id == "" {
			return nil, err
		}
	}
	if err := ident.Check(ident.App, key); err != nil {
		return nil, err
	}
	a, err := s.d.Store.App(ctx, key)
	if err != nil {
		return nil, err
	}
	if !a.Living() {
		return nil, fault.New(fault.Precondition, "app %q: is stopped (%s)", a.ID, a.StopReason)
	}
	return s.d.Versions.Reserve(ctx, a.ID, functions)
}

// SetTags replaces the tags of a living app. Errors: fault.Invalid, fault.NotFound, fault.Precondition (stopped).
func (s *Service) SetTags(ctx context.Context, id string, tags map[string]string) error {
	if err := ident.Check(ident.App, id); err != nil {
		return err
	}
	if err := CheckTags(tags); err != nil {
		return err
	}
	a, err := s.d.Store.App(ctx, id)
	if err != nil {
		return err
	}
	if !a.Living() {
		return fault.New(fault.Precondition, "app %q: is stopped (%s)", id, a.StopReason)
	}
	return s.d.Store.SetTags(ctx, id, tags)
}

// Bind returns the id of the function that has parameters, options or a version of its own; the base's id if nothing is bound. Errors:
// fault.Invalid, fault.NotFound (function, secret, version).
func (s *Service) Bind(ctx context.Context, b function.Binding) (string, error) {
	if err := ident.Check(ident.Function, b.BaseID); err != nil {
		return "", err
	}
	base, err := s.d.Functions.Function(ctx, b.BaseID)
	if err != nil {
		return "", err
	}
	if over := base.Binding; over != nil {
		// What is bound to a pinned version or to options stays so; what is given now comes over it.
		b = over.Over(b)
		if base, err = s.d.Functions.Function(ctx, b.BaseID); err != nil {
			return "", err
		}
	}
	if b.Options != nil {
		for _, id := range slices.Concat(b.Options.SecretIDs, function.BucketSecrets(b.Options.Buckets)) {
			if err := s.d.References.CheckSecret(ctx, base.AppID, id); err != nil {
				return "", err
			}
		}
		for _, m := range b.Options.Volumes {
			if err := s.d.References.CheckVolume(ctx, base.Environment, m.VolumeID); err != nil {
				return "", err
			}
		}
	}
	b, err = b.Checked(&base.Definition)
	if err != nil {
		return "", err
	}
	if b.Empty() {
		return base.ID, nil
	}
	return s.d.Functions.Bind(ctx, b)
}

// Pin returns the id of a function of a deployed app as it was in a version. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Pin(ctx context.Context, environment, appName, name string, version uint32) (*function.Function, error) {
	a, err := s.Find(ctx, environment, appName)
	if err != nil {
		return nil, err
	}
	definitions, err := s.d.Versions.Definitions(ctx, a.ID, version)
	if err != nil {
		return nil, err
	}
	for i := range definitions {
		if definitions[i].Name != name {
			continue
		}
		ids, err := s.d.Versions.Reserve(ctx, a.ID, []string{name}) // the one it has
		if err != nil {
			return nil, err
		}
		id, err := s.d.Functions.Bind(ctx, function.Binding{BaseID: ids[name], Version: version})
		if err != nil {
			return nil, err
		}
		return s.d.Functions.Function(ctx, id)
	}
	return nil, fault.New(fault.NotFound, "function %q: version %d of deployed app %q has none of that name", name, version, appName)
}

// UpdateAutoscaler sets bounds of a function's containers until its app is deployed the next time. Errors: fault.Invalid, fault.NotFound.
func (s *Service) UpdateAutoscaler(ctx context.Context, id string, change function.AutoscalerChange) (function.Autoscaler, error) {
	if err := ident.Check(ident.Function, id); err != nil {
		return function.Autoscaler{}, err
	}
	f, err := s.d.Functions.Function(ctx, id)
	if err != nil {
		return function.Autoscaler{}, err
	}
	bounds, err := change.Applied(f.Definition.Autoscaler)
	if err != nil {
		return bounds, fault.New(fault.Invalid, "function %q: %w", f.Definition.Name, err)
	}
	if err := s.d.Functions.SetAutoscaler(ctx, id, f.Version, bounds); err != nil {
		return bounds, err
	}
	f.Definition.Autoscaler = bounds
	if err := s.d.Runtime.Published(ctx, []*function.Function{f}, nil, false); err != nil {
		return bounds, fmt.Errorf("function %q: bounds are kept, but its containers are not up to date: %w", id, err)
	}
	return bounds, nil
}
