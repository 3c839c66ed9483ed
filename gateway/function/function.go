// Package function is the noun of what users define: code, and how it is to be run.
package function

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
)

// Defaults of a definition where the user gives none, and bounds of what can be given.
const (
	DefaultTimeout          = 300 * time.Second
	MinTimeout              = time.Second
	MaxTimeout              = 24 * time.Hour
	DefaultScaledownWindow  = 60 * time.Second
	DefaultCPUMilli         = 125
	DefaultMemoryMiB        = 128
	DefaultEphemeralDiskMiB = 10_240
)

// Function is a published function. It keeps its ID over redeployments; Version grows with each.
type Function struct {
	ID, AppID   string
	AppName     string // deployment name, or the app's description
	Environment string
	Version     uint32
	Definition  Definition
}

// Definition is everything a container needs to know, checked and with defaults filled in.
type Definition struct {
	Name             string
	Module, Qualname string
	Serialized       *payload.Payload // instead of Module and Qualname
	ImageID          string
	Mounts           []Mount
	SecretIDs        []string
	Resources        Resources
	Timeout          time.Duration // of one run of one input
	StartupTimeout   time.Duration
	Autoscaler       Autoscaler
	PythonVersion    string
	BlockNetwork     bool
	ClientVersion    string
}

// Mount puts a tree of files at a path of the container.
type Mount struct{ RemotePath, TreeDigest string }

// Resources is what one container may use. A limit of 0 is none of the user's.
type Resources struct {
	CPUMilli, CPULimitMilli   uint32
	MemoryMiB, MemoryLimitMiB uint32
	EphemeralDiskMiB          uint32
}

// Autoscaler bounds the number of containers. MaxContainers 0 is no bound of the user's.
type Autoscaler struct {
	MinContainers, MaxContainers, BufferContainers int
	ScaledownWindow                                time.Duration
}

// Store keeps functions.
type Store interface {
	// Function returns the current version of a function, or a fault.NotFound.
	Function(ctx context.Context, id string) (*Function, error)
	// FunctionByName returns a function of a deployed app, or a fault.NotFound that names what is missing.
	FunctionByName(ctx context.Context, environment, app, name string) (*Function, error)
	// AppFunctions returns the current functions of an app, by name.
	AppFunctions(ctx context.Context, appID string) ([]*Function, error)
}
