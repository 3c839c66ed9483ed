package gvisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/container"
)

// The files of a checkpoint. All pages are in the last, one after the other, so that copies read it as they go.
var checkpointFiles = []string{"checkpoint.img", "pages_meta.img", "pages.img"}

// haltedName is a file that is there while the sandbox is halted, so that whoever opens it after a crash has it go on.
const haltedName = "halted"

// Checkpoint writes all that runs in the sandbox to files in dir, a folder without such files: memory, processes and the writable layers of all
// containers, not their images. It stands still meanwhile. With resume the sandbox goes on after it, else it ends without having done
// anything after it. When it fails the sandbox goes on, in either case.
//
// Connections to sockets of the host end by it, inside at least, in the sandbox that goes on as in those that are restored: init dials again
// when it is nudged. A sandbox with images that were mounted later (Mount) can't be restored; nothing here refuses it.
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
	if resume {
		return s.save(ctx, files)
	}
	// The sentry would end the sandbox by itself, but also where it could not write.
	if err := s.halt(ctx); err != nil {
		return err
	}
	if err := s.save(ctx, files); err != nil {
		ctx, cancel := lifecycle.Detach(ctx, DeleteTimeout)
		defer cancel()
		return errors.Join(err, s.goOn(ctx))
	}
	return s.Kill()
}

func (s *Sandbox) save(ctx context.Context, files []*os.File) error {
	return s.runtime.call(ctx, s.sandbox, methodCheckpoint, struct {
		Metadata      map[string]string `json:"metadata"`
		HavePagesFile bool              `json:"have_pages_file"`
		Resume        bool
	}{map[string]string{"compression": "none"}, true, true}, files...)
}

// halt has nothing run in the sandbox until goOn is called, also by another process.
func (s *Sandbox) halt(ctx context.Context) error {
	mark := filepath.Join(s.dir, haltedName)
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return fmt.Errorf("sandbox %q: halt: %w", s.sandbox, err)
	}
	if err := s.runtime.call(ctx, s.sandbox, methodPause, nil); err != nil {
		return errors.Join(err, os.Remove(mark))
	}
	return nil
}

// goOn ends halt. Of a sandbox that is not halted it makes an end.
func (s *Sandbox) goOn(ctx context.Context) error {
	if err := s.runtime.call(ctx, s.sandbox, methodResume, nil); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(s.dir, haltedName)); err != nil {
		return fmt.Errorf("sandbox %q: halt: %w", s.sandbox, err)
	}
	return nil
}

// unhalt has a sandbox go on that a process halted which then crashed.
func (s *Sandbox) unhalt() error {
	_, err := os.Stat(filepath.Join(s.dir, haltedName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), DeleteTimeout)
	defer cancel()
	return s.goOn(ctx)
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
