package gvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/container"
)

// The files of a checkpoint. All pages are in the last, one after the other, so that copies read it as they go.
var checkpointFiles = []string{"checkpoint.img", "pages_meta.img", "pages.img"}

// Checkpoint writes all that runs in the sandbox to files in dir, a folder without such files: memory, processes and the writable layers of all
// containers, not their images. With resume the sandbox goes on after it, else it has ended. It stands still meanwhile.
//
// Connections to sockets of the host end by it, inside at least, in the sandbox that goes on as in those that are restored: init dials again
// when it is nudged. A sandbox with images that were mounted later (Mount) can't be restored; nothing here refuses it. When it fails the sandbox
// goes on.
func (s *Sandbox) Checkpoint(ctx context.Context, dir string, resume bool) (err error) {
	var files []*os.File
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
	}()
	for _, name := range checkpointFiles {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return fmt.Errorf("sandbox %q: checkpoint: %w", s.sandbox, err)
		}
		files = append(files, f)
	}
	return s.runtime.call(ctx, s.sandbox, methodCheckpoint, struct {
		Metadata      map[string]string `json:"metadata"`
		HavePagesFile bool              `json:"have_pages_file"`
		Resume        bool
	}{map[string]string{"compression": "none"}, true, resume}, files...)
}

// RestoreParams says what a sandbox is restored from and what it is to be. Images, sizes of disks, targets and modes of binds, and names of
// containers that were added are those of the sandbox that was saved; all else may be another: ids, folders, network, host name, limits.
type RestoreParams struct {
	From    string // a folder that Checkpoint has filled
	Sandbox container.SandboxParams
	// Empty says that the sandbox was booted without an image.
	Empty bool
	// Added are the containers that it had besides, in any order.
	Added []container.SandboxParams
}

// Restore starts a sandbox from a checkpoint, as often as wanted and at the same time: copies share nothing. The checkpoint's files may be
// removed once it has returned; processes go on then, while their memory comes as it is needed and in the background. They find that their
// connections to the host are closed, those to other hosts as well, and the sandbox's new address in place of the old one. Nothing is left
// behind when it fails or ctx ends.
func (r *Runtime) Restore(ctx context.Context, p RestoreParams) (*Sandbox, error) {
	sandbox, spec := p.Sandbox, r.rootSpec(p.Sandbox)
	if p.Empty {
		var err error
		if sandbox, spec, err = r.emptySpec(ctx, sandbox); err != nil {
			return nil, fmt.Errorf("sandbox %q: %w", sandbox.ID, err)
		}
	}
	restore := []string{"restore", "--detach", "--background", "--image-path=" + p.From}
	s, err := r.start(ctx, sandbox, spec, restore...)
	if err != nil {
		return nil, err
	}
	// The sandbox waits until it has all its containers.
	for _, c := range p.Added {
		if _, err := s.add(ctx, c, restore...); err != nil {
			c, cancel := lifecycle.Detach(ctx, DeleteTimeout)
			defer cancel()
			return nil, errors.Join(err, s.Delete(c))
		}
	}
	return s, nil
}
