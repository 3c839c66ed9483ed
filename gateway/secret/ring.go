package secret

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/skerry-dev/skerry/internal/fault"
)

// KeyFile is the master key's name in a gateway's folder, where no other key is given.
const KeyFile = "master.key"

// OldKeyFile is the one before, while there may be secrets under it.
const OldKeyFile = KeyFile + ".old"

// Ring is the master keys of a gateway.
type Ring struct {
	dir     string
	current Key
	others  []Key
	files   bool // the current one is in the folder
}

// OpenRing reads the master keys of a gateway's folder. Secrets are sealed under given, or if that is nil under the folder's own key, which
// is made where there is none. Before are keys that secrets may be sealed under as well. Errors: as ReadKey.
func OpenRing(dir string, given Key, before ...Key) (*Ring, error) {
	r := &Ring{dir: dir, current: given, others: before, files: given == nil}
	own, err := ReadKey(filepath.Join(dir, KeyFile))
	switch {
	case err == nil && given != nil:
		r.others = append(r.others, own)
	case err == nil:
		r.current = own
	case !errors.Is(err, fault.NotFound):
		return nil, err
	case given == nil:
		if _, err := os.Stat(filepath.Join(dir, OldKeyFile)); err == nil {
			return nil, fault.New(fault.DataLoss, "master key %q: is gone, though there is the one before; restore it from a backup", filepath.Join(dir, KeyFile))
		}
		if err := MakeKey(filepath.Join(dir, KeyFile)); err != nil {
			return nil, err
		}
		if r.current, err = ReadKey(filepath.Join(dir, KeyFile)); err != nil {
			return nil, err
		}
	}
	old, err := ReadKey(filepath.Join(dir, OldKeyFile))
	if err == nil {
		r.others = append(r.others, old)
	} else if !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	return r, nil
}

// Sealer returns a Sealer with the keys.
func (r *Ring) Sealer() *Sealer { return NewSealer(r.current, r.others...) }

// Adopt has the key in the folder be that of secrets from a time when there was no other. It comes before anything else.
func (r *Ring) Adopt(ctx context.Context, store Rotation) error {
	for _, k := range append(slices.Clone(r.others), r.current) {
		if own, ok := k.(*fileKey); ok {
			return store.AdoptKey(ctx, own.id)
		}
	}
	return nil
}

// Renew makes another key in the folder the current one; the one before stays beside it until Clean. Whatever a crash leaves of it, all keys
// are there that secrets are sealed under, because no second one is made while there is an old one. Errors: fault.Precondition where the
// keys are not in the folder, or Clean is still to come.
func (r *Ring) Renew() error {
	if !r.files {
		return fault.New(fault.Precondition, "master key: is not in the data folder; give the new one as secrets_key and the one before as secrets_keys_before")
	}
	path, old := filepath.Join(r.dir, KeyFile), filepath.Join(r.dir, OldKeyFile)
	if _, err := os.Stat(old); err == nil {
		return fault.New(fault.Precondition, "master key: the one before has not been done away with yet")
	}
	if err := os.Link(path, old); err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	if err := syncDir(r.dir); err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	if err := MakeKey(path); err != nil {
		return err
	}
	next, err := OpenRing(r.dir, nil)
	if err == nil {
		*r = *next
	}
	return err
}

// Clean removes the keys in the folder that are not current. No secret may be sealed under one.
func (r *Ring) Clean() error {
	names := []string{OldKeyFile}
	if !r.files {
		names = append(names, KeyFile)
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(r.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("master key: %w", err)
		}
	}
	return syncDir(r.dir)
}

// Rotation seals data keys under the current master key.
type Rotation interface {
	// AdoptKey names the master key of secrets from a time when there was one only.
	AdoptKey(ctx context.Context, keyID string) error
	// UnderOthers returns up to so many secrets that are sealed under other master keys than that of the id.
	UnderOthers(ctx context.Context, keyID string, limit int) ([]Record, error)
	// ReplaceSealed replaces what a secret is sealed as, unless it has changed: then it returns false. Errors: fault.NotFound.
	ReplaceSealed(ctx context.Context, id string, old, sealed Sealed) (bool, error)
}

// resealed is how many secrets are sealed anew at a time.
const resealed = 100

// Reseal seals all data keys under the current master key, and then does away with those in the folder that are not used any more. After a
// crash it is called again. It returns how many there were. Errors: fault.DataLoss, fault.Unavailable.
func (r *Ring) Reseal(ctx context.Context, store Rotation) (count int, err error) {
	if err := r.Adopt(ctx, store); err != nil {
		return 0, err
	}
	sealer := r.Sealer()
	for {
		list, err := store.UnderOthers(ctx, r.current.ID(), resealed)
		if err != nil {
			return count, err
		}
		if len(list) == 0 {
			return count, r.Clean()
		}
		for i := range list {
			sealed, err := sealer.Reseal(ctx, list[i].Sealed)
			if err != nil {
				return count, fmt.Errorf("secret %q: %w", list[i].ID, err)
			}
			// Where it has changed meanwhile, it is sealed under the current key.
			if _, err := store.ReplaceSealed(ctx, list[i].ID, list[i].Sealed, sealed); err != nil && !errors.Is(err, fault.NotFound) {
				return count, err
			}
			count++
		}
	}
}
