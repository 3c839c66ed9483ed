// Package image is the noun of root file systems that functions run in: how they are asked for, built once, and found again.
package image

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/gateway/mount"
	"github.com/skerry-dev/skerry/internal/payload"
)

// BuilderVersion is part of every image's id: raising it builds all images again.
const BuilderVersion = "2026.11"

// Image is a built image.
type Image struct {
	ID        string
	EROFS     payload.Ref       // its root file system: the digest of its manifest if Chunked, else of the file; the size of the file
	Chunked   bool              // false for images of earlier releases
	Env       map[string]string // environment of its containers
	Workdir   string            // working directory of its containers; may be empty
	Recipe    []byte            // how it was made, as it was encoded
	CreatedAt time.Time
	// Entrypoint and Cmd are the words that its containers run; Shell those that run the commands of steps after it. All may be empty.
	Entrypoint, Cmd, Shell []string
	User                   string // who those steps run as; empty: root
	// TTL is how long after its last use (UsedAt) it is forgotten; 0: never.
	TTL    time.Duration
	UsedAt time.Time
}

// Recipe is how to make an image. The gateway keeps it as it came and knows of it only what is named here.
type Recipe struct {
	Encoded      []byte           // for the builder
	Canonical    []byte           // equal for recipes that make the same image, but for the variables of secrets
	PythonSeries string           // such as "3.11"; empty where the base is no Debian slim
	TreeDigests  []string         // trees that it needs
	Secrets      map[int][]string // ids of the secrets of steps, by their numbers from 1; 0: the base's
	Volumes      []string         // ids of the volumes that steps see, each once
	Force        bool             // some step is to run again whatever the cache has
	Existing     string           // id of the image that it begins with; empty: none
	Bare         bool             // it has no steps
}

// Request asks for an image.
type Request struct {
	Recipe Recipe
	AppID  string // whose secrets, and the volumes of whose environment, the recipe may name; may be empty
	Force  bool   // build again even if it is there
	// Apart builds again and keeps the result as an image of its own, whatever there is.
	Apart bool
}

// StepState says what became of a step; the numbers are those of skerry.v1.BuildStepState.
type StepState uint8

// The states.
const (
	StepRunning StepState = 1
	StepDone    StepState = 2
	StepCached  StepState = 3
	StepFailed  StepState = 4
)

// Step is the state of one step of a build. Number counts from 1; RecipeStep is the recipe's step that it belongs to, 0: the base, or none.
type Step struct {
	Number, Total uint32
	RecipeStep    uint32
	Name          string
	State         StepState
	Elapsed       time.Duration
}

// Log is output of a step: whole lines without their ends.
type Log struct {
	Step  uint32
	Lines []string
}

// Failure says why there is no image.
type Failure struct {
	ImageID       string
	Step, Command string
	ExitCode      int32
	LastLines     []string
	Message       string
	RecipeStep    uint32 // 0: the base, or none
}

// Event is one of: a Step, a Log, a Built image, a Failed build. The last two end a build.
type Event struct {
	Step   *Step
	Log    *Log
	Built  *Image
	Failed *Failure
}

// Job is a build for a Builder.
type Job struct {
	ImageID string
	Recipe  []byte
	Trees   []*mount.Tree
	Secrets map[int]map[string]string // variables of the secrets of steps, by their numbers from 1; 0: the base's
	NoCache bool
	Base    *Image // what the recipe begins with, where that is an image that is there
}

// Builder makes images. Implemented by gateway/buildlink.
type Builder interface {
	// PythonSeries lists the series that can be had, and says how an operator adds others. Errors: fault.Unavailable.
	PythonSeries(ctx context.Context) (series []string, hint string, err error)
	// Build makes an image, hands its Steps and Logs to emit in order, and returns its end: the Image (with EROFS, Env and Workdir) or
	// the Failure. An error means that there was no outcome. Errors: fault.Unavailable where the builder went away.
	Build(ctx context.Context, job Job, emit func(Event)) (*Image, *Failure, error)
}

// Store keeps built images.
type Store interface {
	// PutImage adds an image or replaces that of the same id.
	PutImage(ctx context.Context, im Image) error
	// Image returns an image, or a fault.NotFound.
	Image(ctx context.Context, id string) (*Image, error)
	// Images lists the newest images, newest first, without their recipes.
	Images(ctx context.Context, limit int) ([]Image, error)
	// DeleteImage deletes an image and its log, or returns a fault.NotFound.
	DeleteImage(ctx context.Context, id string) error
	// ImageUsers names, for people, what uses an image: living apps and names.
	ImageUsers(ctx context.Context, id string) ([]string, error)
	// PutImageLog keeps what the last build of an image said.
	PutImageLog(ctx context.Context, id string, log []StepLog) error
	// ImageLog returns that, or a fault.NotFound where the image was never built.
	ImageLog(ctx context.Context, id string) ([]StepLog, error)
}

// Ages keeps when images were used that are forgotten some time after that.
type Ages interface {
	// UseImage notes that an image is used.
	UseImage(ctx context.Context, id string, at time.Time) error
	// StaleImages lists the images whose TTL has passed.
	StaleImages(ctx context.Context, now time.Time) ([]string, error)
}

// Secrets opens the secrets that builds are given. Implemented in gateway/server.
type Secrets interface {
	// Variables returns what the app's secrets hold, later ones over earlier ones. Errors: fault.NotFound.
	Variables(ctx context.Context, appID string, ids []string) (map[string]string, error)
}

// Volumes checks the volumes that builds are given. Implemented in gateway/server.
type Volumes interface {
	// CheckVolumes refuses volumes that are not in the app's environment. Errors: fault.NotFound, also for the app.
	CheckVolumes(ctx context.Context, appID string, ids []string) error
}

// Trees finds the files that recipes copy in. Implemented by mount.Service.
type Trees interface {
	// Tree returns a tree, or a fault.NotFound.
	Tree(ctx context.Context, digest string) (*mount.Tree, error)
}
