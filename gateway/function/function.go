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
	Definition  Definition // of a bound function: with its options
	Binding     *Binding   // nil: not bound
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
	Generator        bool
	Class            *Class   // nil: a function
	Retries          *Retries // nil: none
	Concurrency      Concurrency
	Batching         *Batching // nil: inputs are run one by one
	SingleUse        bool      // a container ends after one input
	Schedule         *Schedule // nil: none
	Placement        Placement
	RestrictAccess   bool          // containers may not call Skerry
	ModalNames       bool          // code imports the SDK as "modal"
	Interactive      bool          // a client offers its terminal
	Volumes          []VolumeMount `json:",omitempty"` // left out, so that what was stored before is the same
	Buckets          []BucketMount `json:",omitempty"`
}

// Class describes a class whose methods are called remotely.
type Class struct {
	Methods           []Method
	Parameters        []ParameterSpec
	CustomConstructor bool // its arguments come pickled
}

// Method is a remote method.
type Method struct {
	Name      string
	Generator bool
}

// ParameterType is the type of a class's parameter; the numbers are those of skerry.v1.ParameterType.
type ParameterType uint8

// The types.
const (
	StringParameter ParameterType = 1
	IntParameter    ParameterType = 2
	BytesParameter  ParameterType = 3
	BoolParameter   ParameterType = 4
)

// ParameterSpec declares a parameter. Default is nil where a value must be given.
type ParameterSpec struct {
	Name    string
	Type    ParameterType
	Default *Parameter
}

// Parameter is a parameter's value; the field of its Type is meant.
type Parameter struct {
	Name  string
	Type  ParameterType
	Text  string
	Int   int64
	Bytes []byte
	Bool  bool
}

// Retries says how often failed inputs are run again: the n-th retry waits InitialDelay * Backoff^(n-1), at most MaxDelay.
type Retries struct {
	Max                    int
	InitialDelay, MaxDelay time.Duration
	Backoff                float64
}

// Concurrency is how many inputs run in a container at a time: at most Max, and the autoscaler aims at Target. Both are 1 where the user
// says nothing.
type Concurrency struct{ Max, Target int }

// Batching has up to Size inputs run together; the first of them waits at most Wait for others.
type Batching struct {
	Size int
	Wait time.Duration
}

// Schedule says when a function is called by itself: Cron with Timezone, or Period.
type Schedule struct {
	Cron, Timezone string
	Period         *Period
}

// Period is a length of time by the calendar.
type Period struct {
	Years, Months, Weeks, Days, Hours, Minutes int
	Seconds                                    float64
}

// Placement says which workers may run a function; empty lists are all.
type Placement struct {
	Regions, Clouds []string
	NonPreemptible  bool
}

// Binding is what makes a bound function of another: it has the other's definition in Version (0: the current one), the parameters, and
// the options in place of the definition's.
type Binding struct {
	BaseID      string
	Version     uint32
	Parameters  []Parameter // sorted by name, with defaults filled in
	Constructor []byte
	Options     *Options
}

// Options are what a binding has other than the definition; zero values and nil stay as they are.
type Options struct {
	CPUMilli, CPULimitMilli         uint32
	MemoryMiB, MemoryLimitMiB       uint32
	SecretIDs                       []string
	Retries                         *Retries
	MaxContainers, BufferContainers int
	ScaledownWindow, Timeout        time.Duration
	Placement                       *Placement
	Concurrency                     *Concurrency
	Batching                        *Batching
	Volumes                         []VolumeMount `json:",omitempty"` // left out, so that what was stored before is the same
	Buckets                         []BucketMount `json:",omitempty"`
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
	// Function returns the current version of a function, bound ones included, or a fault.NotFound.
	Function(ctx context.Context, id string) (*Function, error)
	// FunctionByName returns a function of a deployed app, or a fault.NotFound that names what is missing.
	FunctionByName(ctx context.Context, environment, app, name string) (*Function, error)
	// AppFunctions returns the current functions of an app, by name.
	AppFunctions(ctx context.Context, appID string) ([]*Function, error)
	// Bind returns the id of a bound function: the same for the same binding. The binding has been checked.
	Bind(ctx context.Context, b Binding) (id string, err error)
	// SetAutoscaler keeps bounds for a function while it is of the version.
	SetAutoscaler(ctx context.Context, functionID string, version uint32, a Autoscaler) error
}
