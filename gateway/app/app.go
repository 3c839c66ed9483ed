// Package app is the noun of apps: sets of functions that live and die together.
package app

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/gateway/function"
)

// Defaults of an app's life.
const (
	// HeartbeatWindow is how long an ephemeral app lives without a word from its client: three heartbeats of 15 s.
	HeartbeatWindow = 45 * time.Second
	// ListedAfterStop is how long stopped apps are still listed.
	ListedAfterStop = 24 * time.Hour
)

// State says where an app is in its life; the numbers are those of skerry.v1.AppState.
type State uint8

// The states.
const (
	Initializing State = 1
	Ephemeral    State = 2
	Detached     State = 3
	Deployed     State = 4
	Stopping     State = 5
	Stopped      State = 6
)

// StopReason says why an app was stopped; the numbers are those of skerry.v1.StopReason.
type StopReason uint8

// The reasons.
const (
	NotSaid     StopReason = 0
	Completed   StopReason = 1
	Interrupted StopReason = 2
	LocalError  StopReason = 3
	Requested   StopReason = 4
	ClientLost  StopReason = 5
	Moved       StopReason = 6 // what it had went to the app that has the name it was made for
)

// App is an app. Environment is an id. Name is its deployment name, empty while it was only run. Version counts its publications.
type App struct {
	ID, Environment, Name, Description string
	State                              State
	StopReason                         StopReason
	Version                            uint32
	Tags                               map[string]string
	CreatedAt, StoppedAt               time.Time // StoppedAt is zero while it lives
}

// Title is what people call the app: its deployment name, or its description.
func (a *App) Title() string {
	if a.Name != "" {
		return a.Name
	}
	return a.Description
}

// Living says whether the app may have containers and take calls.
func (a *App) Living() bool { return a.State < Stopping }

// Commit says where the code of a deployment came from.
type Commit struct {
	Hash   string `json:"hash"`
	Branch string `json:"branch"`
	Dirty  bool   `json:"dirty"`
	Author string `json:"author"`
	Email  string `json:"email,omitempty"`
	// At is zero where it is not known; Repository is the remote's URL, without credentials.
	At         time.Time `json:"at,omitzero"`
	Repository string    `json:"repository,omitempty"`
}

// Deployment is one publication under a name. Commit may be nil.
type Deployment struct {
	Version                        uint32
	DeployedAt                     time.Time
	ClientVersion, DeployedBy, Tag string
	Commit                         *Commit
}

// Publication gives an app its functions. With a Name it deploys, and Deployment (without Version) is recorded.
type Publication struct {
	AppID, Name, Environment string
	Functions                []function.Definition
	Deployment               Deployment
	Tags                     map[string]string // of the app from now on; nil: as they are
	Recreate                 bool              // old containers are stopped at once; else they finish their inputs
	Again                    bool              // a new version even if nothing differs
}

// Published is the outcome of a publication: the app, its current functions with their ids, and those it no longer has.
type Published struct {
	App       App
	Functions []*function.Function
	Removed   []*function.Function
	Unchanged bool // nothing differed from the version before, and so none was made
}

// Store keeps apps.
type Store interface {
	// CreateApp adds an app.
	CreateApp(ctx context.Context, a App) error
	// App returns an app, or a fault.NotFound.
	App(ctx context.Context, id string) (*App, error)
	// AppByName returns the deployed app of a name, or a fault.NotFound.
	AppByName(ctx context.Context, environment, name string) (*App, error)
	// SetAppState moves an app to a later state; at is kept as the stop time for Stopped. Moving to the state it has or one before
	// changes nothing and returns false. Errors: fault.NotFound.
	SetAppState(ctx context.Context, id string, state State, reason StopReason, at time.Time) (bool, error)
	// ExpireApp moves an app from a state to Stopping; it returns false where the app is not in that state any more.
	ExpireApp(ctx context.Context, id string, from State, reason StopReason) (bool, error)
	// Apps lists apps, newest first: the living ones, and those stopped at or after stoppedSince, but for Moved ones. An empty environment is all.
	Apps(ctx context.Context, environment string, stoppedSince time.Time) ([]App, error)
	// SetTags replaces an app's tags. Errors: fault.NotFound.
	SetTags(ctx context.Context, id string, tags map[string]string) error
}

// Versions keeps what functions apps have and had.
type Versions interface {
	// PublishApp replaces the functions of an app in one transaction; a function keeps its id by its name. The app is that of the
	// publication's name, if it is deployed, else that of its id. Where these are two, the latter's secrets go to the former and the
	// latter is stopped. Errors: fault.NotFound, fault.Precondition (stopped, or deployed under another name).
	PublishApp(ctx context.Context, p Publication) (*Published, error)
	// Deployments lists an app's deployments, newest first.
	Deployments(ctx context.Context, appID string) ([]Deployment, error)
	// Definitions returns the functions of a deployment, or a fault.NotFound.
	Definitions(ctx context.Context, appID string, version uint32) ([]function.Definition, error)
	// Reserve returns ids for functions of an app by name, which the app keeps when it is published.
	Reserve(ctx context.Context, appID string, names []string) (map[string]string, error)
}

// Runtime is what runs the functions of apps: calls and containers.
type Runtime interface {
	// Published says that functions are new or changed. Containers of older versions finish the inputs they have and stop or, with
	// recreate, stop at once, and their inputs run again in new ones. Of functions that are removed, inputs that wait are cancelled.
	Published(ctx context.Context, functions, removed []*function.Function, recreate bool) error
	// StopApp cancels the app's inputs and begins to stop its containers. The channel is closed when all have ended.
	StopApp(ctx context.Context, appID string) (done <-chan struct{}, err error)
	// Containers counts the app's containers that start or run.
	Containers(appID string) int
	// Busy says whether the app has inputs without an outcome, wherever they are.
	Busy(ctx context.Context, appID string) (bool, error)
}

// References checks what definitions name. Each method returns a fault.NotFound where it is missing.
type References interface {
	// CheckImage checks a built image.
	CheckImage(ctx context.Context, id string) error
	// CheckBlob checks an uploaded blob.
	CheckBlob(ctx context.Context, digest string) error
	// CheckTree checks a recorded tree.
	CheckTree(ctx context.Context, digest string) error
	// CheckSecret checks a secret that the app may use.
	CheckSecret(ctx context.Context, appID, id string) error
	// CheckVolume checks a volume of an environment.
	CheckVolume(ctx context.Context, environment, id string) error
}

// Secrets deletes the anonymous secrets of a stopped app. Implemented by secret.Service.
type Secrets interface {
	// DeleteApp deletes the secrets of an app.
	DeleteApp(ctx context.Context, appID string) error
}

// Schedules calls functions by themselves. Implemented by gateway/cron.
type Schedules interface {
	// Check returns a fault.Invalid for a schedule that can't be; nil is none.
	Check(s *function.Schedule) error
	// Published says that a deployed app has new functions.
	Published(ctx context.Context, appID string) error
	// Stopped says that an app has stopped.
	Stopped(ctx context.Context, appID string) error
}
