package sandbox

import (
	"context"
	"errors"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/command"
	"github.com/skerry-dev/skerry/worker/container"
)

// Size of the command's terminal until somebody says another.
const (
	terminalRows = 24
	terminalCols = 80
)

// start makes the box, gives it its identity and starts the command.
func (l *life) start(ctx context.Context) {
	defer l.host.turns.sandbox(ctx)()
	b, err := l.makeBox(ctx)
	select {
	case l.notes <- note{kind: noteBox, box: b, err: err}:
	case <-l.over:
		l.late = b
		return
	}
	if err != nil {
		return
	}
	id, err := l.identity()
	if err == nil {
		err = command.OnLink(ctx, b, func(g box.Guest) error { return g.Configure(ctx, id) })
	}
	if err == nil {
		err = l.moveIn(ctx, b)
	}
	if err == nil && len(l.spec.Argv) > 0 {
		err = command.OnLink(ctx, b, func(g box.Guest) error { return g.StartMain(ctx, l.spec.Argv, l.terminal()) })
	}
	l.note(note{kind: noteUp, err: err})
}

// makeBox makes the box, from a snapshot where that was asked for.
func (l *life) makeBox(ctx context.Context) (*box.Box, error) {
	from, release, err := l.from(ctx)
	if err != nil {
		return nil, err
	}
	b, err := l.host.cfg.Boxes.Start(ctx, l.boxSpec(from))
	l.warn(release())
	return b, err
}

func (l *life) identity() (box.Identity, error) {
	certificates, err := l.certificates()
	return box.Identity{
		ContainerID: l.spec.ID, Hostname: box.Hostname(l.spec.ID), Env: l.spec.environment(), Workdir: l.spec.workdir(), Certificates: certificates,
	}, err
}

// terminal is that of the command, or nil.
func (l *life) terminal() *container.Terminal {
	if !l.spec.Terminal {
		return nil
	}
	return &container.Terminal{Rows: terminalRows, Cols: terminalCols}
}

// followMain waits for the command's end.
func (l *life) followMain(ctx context.Context) error {
	defer close(l.mainOver)
	var end container.ProcessEnd
	err := command.OnLink(ctx, l.box, func(g box.Guest) (err error) {
		end, err = g.Wait(ctx, box.MainProcess)
		return err
	})
	if ctx.Err() == nil {
		l.note(note{kind: noteMain, end: end, err: err})
	}
	return nil
}

// followActivity counts the processes of clients.
func (l *life) followActivity(ctx context.Context) error {
	for {
		err := command.OnLink(ctx, l.box, func(g box.Guest) error { return g.WatchActivity(ctx, l.active) })
		if err != nil {
			return nil //nolint:nilerr // the box has ended, or the sandbox; what else it says, it is not counted by
		}
	}
}

// followProbe waits for the probe to succeed.
func (l *life) followProbe(ctx context.Context) error {
	err := command.OnLink(ctx, l.box, func(g box.Guest) error { return g.AwaitReady(ctx, *l.spec.Probe) })
	if ctx.Err() == nil && !errors.Is(err, fault.Unavailable) {
		l.note(note{kind: noteReady, err: err})
	}
	return nil
}

// broken is closed when the box has lost what it needs; nil while there is no box.
func (l *life) broken() <-chan struct{} {
	if l.box == nil {
		return nil
	}
	return l.box.Broken()
}
