package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/skerry-dev/skerry/gateway/kms"
	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/internal/fault"
)

// keys are the master keys of secrets, those in services among them.
type keys struct {
	*secret.Ring
	services []*kms.Key
}

// openKeys opens the master keys that secrets are sealed under: that of url, or without one that of the folder; and those of before.
func openKeys(ctx context.Context, dir, url string, before []string) (*keys, error) {
	k := &keys{}
	var current secret.Key
	var others []secret.Key
	for _, u := range append([]string{url}, before...) {
		if u == "" {
			continue
		}
		key, err := kms.Open(ctx, u)
		if err != nil {
			return nil, errors.Join(err, k.Close())
		}
		k.services = append(k.services, key)
		if u == url {
			current = key
		} else {
			others = append(others, key)
		}
	}
	ring, err := secret.OpenRing(dir, current, others...)
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	k.Ring = ring
	return k, nil
}

// Close gives back what services were opened.
func (k *keys) Close() error {
	var errs []error
	for _, s := range k.services {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// reseal finishes what a rotation has begun: data keys come under the current master key. Until it is through, those before are needed.
func (s *Server) reseal(ctx context.Context) error {
	n, err := s.keys.Reseal(ctx, s.db)
	switch {
	case err != nil && ctx.Err() == nil:
		s.log.Error("secrets are still sealed under master keys of before; it is tried again at the next start", "error", err)
	case n > 0:
		s.log.Info("secrets are sealed under the current master key", "count", n)
	}
	return nil
}

// RotateKey makes a new master key of a gateway's folder, seals all data keys under it, and does away with the one before. With a key in a
// service it seals what is under others under that. The gateway must not run. What a crash breaks off, the next call or start goes on
// with. It returns how many secrets there were. Errors: fault.Precondition where no gateway has run yet, fault.DataLoss, fault.Unavailable.
func RotateKey(ctx context.Context, cfg Config) (count int, err error) {
	where := Database(cfg.Dir, cfg.DB)
	if _, err := os.Stat(where); !sqlstore.IsURL(where) && errors.Is(err, fs.ErrNotExist) {
		return 0, fault.New(fault.Precondition, "database %q: there is none; start skerryd up first", where)
	}
	db, err := sqlstore.Open(ctx, where)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	k, err := openKeys(ctx, cfg.Dir, cfg.SecretsKey, cfg.SecretsKeysBefore)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	// What an earlier rotation has left comes first: there is never more than one key of before.
	if count, err = k.Reseal(ctx, db); err != nil || cfg.SecretsKey != "" {
		return count, err
	}
	if err := k.Renew(); err != nil {
		return 0, err
	}
	if count, err = k.Reseal(ctx, db); err != nil {
		return count, fmt.Errorf("the new master key is in place, and the one before still needed: %w", err)
	}
	return count, nil
}
