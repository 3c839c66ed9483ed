// Package build is the image builder's noun: one image being made, what is asked for, what is told about it, and how it can fail.
package build

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/payload"
)

// MaxLastLines is how many lines of output a FailedError keeps.
const MaxLastLines = 50

// Request is an image to make.
type Request struct {
	// ImageID names the image in messages; "im-...".
	ImageID string
	// Recipe says how. Build validates it.
	Recipe recipe.Recipe
	// NoCache runs every step again.
	NoCache bool
	// Trees holds the files of each tree that the recipe names, by digest.
	Trees map[string][]File
	// Secrets holds the variables of the secrets of the recipe's steps, by their numbers; 0: the base's.
	Secrets map[int]map[string]string
	// Shared is what is shared with other builders; nil: nothing.
	Shared *Shared
}

// Shared is what a build may take from other builders, and give to them.
type Shared struct {
	// Bundles are the digests of bundles (internal/cas) of results, the one with most in common first.
	Bundles []string
	// Known says that the first of them came of the same recipe, whole.
	Known bool
	// Base is the digest of the bundle of the base that others start from; empty: there is none.
	Base string
	// Grant is what Layers.Store is called with.
	Grant string
	// MaxBytes is the most that a bundle may have.
	MaxBytes uint64
}

// Layers is where builders learn of one another's results. Implementations are safe for concurrent use.
type Layers interface {
	// Store has others find a bundle, which is a blob already, as are its files. Errors: fault.NotFound for the grant or a blob.
	Store(ctx context.Context, grant, bundle string) error
	// StoreBase is Store for the base that a build starts from.
	StoreBase(ctx context.Context, grant, bundle string) error
	// Report says that a content of a bundle can't be read; empty: the bundle. It says whether others find it no more.
	Report(ctx context.Context, bundle, content string) (forgotten bool, err error)
}

// File is a file of a tree.
type File struct {
	// Path below the tree's root, slash separated; "." where the tree is one file.
	Path string
	// Blob is its content.
	Blob payload.Ref
	// Mode holds its permission bits.
	Mode uint32
}

// State is what became of a step; the numbers are those of skerry.v1.BuildStepState.
type State uint8

// The states.
const (
	Running State = 1
	Done    State = 2
	Cached  State = 3
	Failed  State = 4
)

// Step is news of one step.
type Step struct {
	// Number is its position, from 1; Total is how many there are.
	Number, Total int
	// Name says what it does, for people.
	Name string
	// State is what became of it.
	State State
	// Elapsed is how long it took; set once it is no longer Running.
	Elapsed time.Duration
	// RecipeStep is the number of the recipe's step that it belongs to; 0: the base, or none.
	RecipeStep int
}

// Log is output of one step.
type Log struct {
	// Step is the step's number.
	Step int
	// Lines are whole lines without their ends.
	Lines []string
}

// Events is who hears how a build goes. Calls come one at a time and in order. A call may block: the build then waits.
type Events interface {
	// Step says that a step's state changed.
	Step(s Step)
	// Log hands over output.
	Log(l Log)
}

// Image is a made image.
type Image struct {
	// EROFS is its file: the digest of its manifest in the blob store (internal/cas), and the size of the file.
	EROFS payload.Ref
	// Env is the environment of its containers.
	Env map[string]string
	// Workdir is the working directory of its containers; may be empty.
	Workdir string
	// Entrypoint and Cmd are the words that its containers run; Shell those that run the commands of steps after it. All may be empty.
	Entrypoint, Cmd, Shell []string
	// User is who those steps run as; empty: root.
	User string
}

// FailedError is a build that ended without an image because of what its recipe asked for.
type FailedError struct {
	// Step and Command say what failed; both are empty if no step was to blame.
	Step, Command string
	// ExitCode is the command's; 0 if it had none.
	ExitCode int
	// LastLines are the step's, at most MaxLastLines.
	LastLines []string
	// Message says in words what went wrong.
	Message string
	// RecipeStep is the number of the recipe's step that failed; 0: the base, or none.
	RecipeStep int
}

// Error returns the message with the step's name.
func (f *FailedError) Error() string {
	if f.Step == "" {
		return "image build: " + f.Message
	}
	return fmt.Sprintf("image build: step %q: %s", f.Step, f.Message)
}

// Blobs is where files of trees come from and images go to. Implementations are safe for concurrent use.
type Blobs interface {
	// Open streams a blob. Errors: fault.NotFound; fault.DataLoss at the read that finds it.
	Open(ctx context.Context, ref payload.Ref) (io.ReadCloser, error)
	// ReadAll returns a whole, verified blob of at most limit bytes. Errors: fault.NotFound, fault.DataLoss.
	ReadAll(ctx context.Context, digest string, limit int64) ([]byte, error)
	// Add keeps data as a blob durably, and names it; stored is false where it was there already and was claimed instead.
	Add(ctx context.Context, data []byte) (ref payload.Ref, stored bool, err error)
}
