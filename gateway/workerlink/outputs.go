package workerlink

import (
	"github.com/skerry-dev/skerry/gateway/logs"
	"github.com/skerry-dev/skerry/gateway/task"
)

// Outputs hears which containers will have output, so that those who follow it know when there is no more. Implemented by logs.Service.
type Outputs interface {
	// Open says that a container is to start.
	Open(containerID string, origin logs.Origin)
	// Ended says that it has ended.
	Ended(containerID string)
}

// observed is a worker whose containers' beginnings and ends Outputs and the owners hear of.
type observed struct {
	task.Worker
	token   string // id of the one it has joined with
	owners  *owners
	outputs Outputs
}

// Start implements task.Worker.
func (o *observed) Start(spec *task.Spec, events task.Events) task.Handle {
	f := spec.Function
	o.owners.began(spec.ContainerID, o.token)
	o.outputs.Open(spec.ContainerID, logs.Origin{AppID: f.AppID, FunctionID: f.ID, FunctionName: f.Definition.Name})
	return o.Worker.Start(spec, &observedEvents{Events: events, id: spec.ContainerID, owners: o.owners, outputs: o.outputs})
}

type observedEvents struct {
	task.Events
	id      string
	owners  *owners
	outputs Outputs
}

// Exited implements task.Events.
func (o *observedEvents) Exited(exit task.Exit) {
	o.owners.ended(o.id)
	o.outputs.Ended(o.id)
	o.Events.Exited(exit)
}
