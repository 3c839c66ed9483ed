// Package sandbox is the worker's noun of what somebody opens to work in: one box with an identity, a command and a life of its own, from the
// moment that the gateway asks for it until the gateway has recorded how it ended.
package sandbox

import (
	"context"
	"maps"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/command"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network/policy"
	"github.com/skerry-dev/skerry/worker/sidecar"
)

// Spec is a sandbox to start. What is not in its JSON is not kept on the disk.
type Spec struct {
	ID          string // "sb-..."
	AppID       string
	AppName     string
	Environment string

	ImageID      string
	Image        container.Image
	ImageEnv     map[string]string `json:"-"`
	ImageWorkdir string
	Argv         []string          // of its command; empty: it waits until it is ended
	Terminal     bool              // of its command
	Env          map[string]string `json:"-"`
	SecretEnv    map[string]string `json:"-"` // not for logs
	Workdir      string            // empty: the image's
	Mounts       []container.Mount
	Volumes      []container.VolumeMount
	Buckets      []container.BucketMount // credentials are not in its JSON
	Labels       map[string]string       `json:"-"` // of the worker

	CPUMilli, CPULimitMilli   uint32
	MemoryMiB, MemoryLimitMiB uint32
	DiskMiB                   uint32

	Network       policy.Policy // values of secrets are not in its JSON
	GatewayAccess bool
	IdleTimeout   time.Duration // 0: none
	PauseWhenIdle bool          // instead of ending it
	Snapshot      *SnapshotRef  // that it is made from; nil: from its image
	Probe         *box.Probe    // nil: none
	ExpiresAt     time.Time     // zero: never
	Record        []byte        // the gateway's own
}

// Status is a sandbox as it is at a moment.
type Status struct {
	ID        string
	State     command.State
	End       *command.End // only with Ended
	Ready     bool
	Adopted   bool
	ExpiresAt time.Time
	IdleSince time.Time // zero: somebody uses it
	Record    []byte
	Spec      *Spec            // not to be changed
	Sidecars  []sidecar.Status // that it had; only with Ended
}

// environment is what processes in the sandbox begin with. There is no credential of ours in it.
func (s *Spec) environment() map[string]string {
	env := map[string]string{"PATH": container.DefaultPath, "HOME": "/root", "LANG": "C.UTF-8"}
	maps.Copy(env, s.ImageEnv)
	maps.Copy(env, s.SecretEnv)
	maps.Copy(env, s.Env)
	maps.Copy(env, s.own())
	if s.Terminal && env["TERM"] == "" {
		env["TERM"] = "xterm-256color"
	}
	return env
}

// own are the variables by which processes know where they are.
func (s *Spec) own() map[string]string {
	env := map[string]string{
		"SKERRY_IS_REMOTE":   "1",
		"SKERRY_SANDBOX_ID":  s.ID,
		"SKERRY_IMAGE_ID":    s.ImageID,
		"SKERRY_ENVIRONMENT": s.Environment,
		"SKERRY_APP_ID":      s.AppID,
	}
	for label, name := range map[string]string{"cloud": "SKERRY_CLOUD_PROVIDER", "region": "SKERRY_REGION"} {
		if v := s.Labels[label]; v != "" {
			env[name] = v
		}
	}
	return env
}

func (s *Spec) workdir() string {
	for _, dir := range []string{s.Workdir, s.ImageWorkdir} {
		if dir != "" {
			return dir
		}
	}
	return container.DefaultWorkdir
}

// Boxes makes boxes. Implemented by box.Host.
type Boxes interface {
	// Start makes a box and returns when its init has linked. Nothing is left behind when it fails or ctx ends.
	Start(ctx context.Context, spec box.Spec) (*box.Box, error)
	// Adopt takes over boxes of an earlier process.
	Adopt(ctx context.Context, records []box.Record) []box.Adoption
}

var _ Boxes = (*box.Host)(nil)

// Change is what to change of a sandbox. What is unset stays as it is.
type Change struct {
	ExpiresAt time.Time
	Record    []byte
	Network   *policy.Policy
	Secrets   *[]policy.Secret
}

// check refuses a spec that can't be meant.
func (s *Spec) check() error {
	if s.IdleTimeout < 0 {
		return fault.New(fault.Invalid, "sandbox %q: idle timeout %s: is negative", s.ID, s.IdleTimeout)
	}
	if len(s.Volumes) > 0 && s.PauseWhenIdle {
		return fault.New(fault.Invalid, "sandbox %q: one with volumes can't be paused; leave out what pauses it when it is idle", s.ID)
	}
	return nil
}
