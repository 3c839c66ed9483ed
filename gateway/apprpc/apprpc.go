// Package apprpc serves the public services of apps, their functions and their schedules.
package apprpc

import (
	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/cron"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
)

// Work counts work. Implemented by task.Scheduler.
type Work interface {
	// CountByApp counts an app's work.
	CountByApp(appID string) task.Counts
	// CountByFunction counts a function's work.
	CountByFunction(functionID string) task.Counts
}

// Deps are what the services work with. All are required.
type Deps struct {
	Apps      *app.Service
	Functions function.Store
	Work      Work
	Schedules *cron.Service
}

// NewAppService returns the handler of AppService.
func NewAppService(d Deps) skerryv1connect.AppServiceHandler { return &appService{d} }

// NewFunctionService returns the handler of FunctionService.
func NewFunctionService(d Deps) skerryv1connect.FunctionServiceHandler { return &functionService{d} }

// NewScheduleService returns the handler of ScheduleService.
func NewScheduleService(d Deps) skerryv1connect.ScheduleServiceHandler { return &scheduleService{d} }
