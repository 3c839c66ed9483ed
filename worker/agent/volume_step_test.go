package agent

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/worker/container"
)

// TestStepsOfBuildsHaveVolumes as containers do; but what is not in the volume in the end is said, for the step's result hangs on it.
func TestStepsOfBuildsHaveVolumes(t *testing.T) {
	v := newVolumeRig(t)
	mount := func(id string) (step, dir string) {
		step = ident.New(ident.BuildStep)
		binds, err := v.volumes.Mount(t.Context(), step, []container.VolumeMount{{VolumeID: id, Path: "/data"}})
		ok(t, err)
		return step, binds[0].Source
	}
	write := func(dir, text string) { ok(t, os.WriteFile(filepath.Join(dir, "x"), []byte(text), 0o600)) }

	step, dir := mount(v.id)
	write(dir, "one")
	ok(t, v.volumes.Finish(t.Context(), step))
	if got := v.shelf.Text(t, v.id, "x"); got != "one" {
		t.Errorf("committed: %q", got)
	}
	if err := v.volumes.Finish(t.Context(), step); err != nil {
		t.Errorf("a step that has none any more: %v", err)
	}

	doomed := ident.New(ident.Volume)
	_, err := v.shelf.Change(t.Context(), doomed, nil)
	ok(t, err)
	step, dir = mount(doomed)
	write(dir, "two")
	v.shelf.Delete(doomed)
	if err := v.volumes.Finish(t.Context(), step); !errors.Is(err, fault.NotFound) {
		t.Errorf("a volume that was deleted: %v", err)
	}

	step, dir = mount(v.id)
	write(dir, "three")
	v.kill(t)
	<-v.volumes.Gone(step)
	<-v.lost
	if err := v.volumes.Finish(t.Context(), step); !errors.Is(err, fault.Unavailable) {
		t.Errorf("volumes that are lost: %v", err)
	}
	if got := v.shelf.Text(t, v.id, "x"); got != "one" {
		t.Errorf("after the loss: %q", got)
	}
}
