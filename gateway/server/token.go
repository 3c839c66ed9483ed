package server

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/skerry-dev/skerry/gateway/backup"
	"github.com/skerry-dev/skerry/gateway/environment"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/jetstream"
	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/fault"
)

// NewToken is a token to be made. Environments are the names of those that it opens; none: all.
type NewToken struct {
	Name         string
	Role         identity.Role
	Environments []string
}

// Database is where a gateway's records are: at a URL, or where that is empty in its folder.
func Database(dir, db string) string {
	if db != "" {
		return db
	}
	return filepath.Join(dir, "skerry.db")
}

// OpenStores opens all that a gateway keeps that does not run: its database, its messages, and what is given of its blobs. The caller closes it.
func OpenStores(ctx context.Context, cfg Config, blobs *blob.Store, log *slog.Logger) (stores backup.Stores, closeAll func() error, err error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return stores, nil, fmt.Errorf("gateway folder: %w", err)
	}
	db, err := sqlstore.Open(ctx, Database(cfg.Dir, cfg.DB))
	if err != nil {
		return stores, nil, err
	}
	flow, err := jetstream.Open(ctx, flowConfig(cfg), log)
	if err != nil {
		return stores, nil, errors.Join(err, db.Close())
	}
	return backup.Stores{Records: db, Flow: flow, Blobs: blobs}, func() error { return errors.Join(flow.Close(), db.Close()) }, nil
}

func flowConfig(cfg Config) jetstream.Config {
	return jetstream.Config{Dir: filepath.Join(cfg.Dir, "jetstream"), Cluster: cfg.Cluster, SyncAlways: cfg.SyncAlways}
}

// MasterKey is the file of a gateway's master key.
func MasterKey(dir string) string { return filepath.Join(dir, secret.KeyFile) }

// ReadMasterKeys reads the files of a gateway's master keys for a backup, which reads records afterwards only: those are then sealed under one of
// them, whatever a rotation does meanwhile. Errors: fault.Precondition where there is none.
func ReadMasterKeys(dir string) (*backup.MasterKeys, error) {
	keys := &backup.MasterKeys{}
	var err error
	// The one before is looked at first: it goes, and never comes, while a gateway runs.
	if keys.Before, err = os.ReadFile(filepath.Join(dir, secret.OldKeyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("master key: %w", err)
	}
	keys.Current, err = os.ReadFile(MasterKey(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Precondition, "master key %q: there is none, so it is in a service; leave it out of the backup", MasterKey(dir))
	}
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return keys, nil
}

// WriteMasterKeys puts master keys into a gateway's folder. Its next start does away with the one before.
func WriteMasterKeys(dir string, keys *backup.MasterKeys) error {
	if keys.Before != nil {
		if err := secret.WriteKey(filepath.Join(dir, secret.OldKeyFile), keys.Before); err != nil {
			return err
		}
	}
	return secret.WriteKey(MasterKey(dir), keys.Current)
}

// CreateToken makes a token in a gateway's database (see Database), whether or not the gateway runs: it is for those who can write there.
// Errors: fault.Precondition where no gateway has run yet, fault.Invalid, fault.NotFound (an environment).
func CreateToken(ctx context.Context, where string, t NewToken) (c identity.Credential, err error) {
	if _, err := os.Stat(where); !sqlstore.IsURL(where) && errors.Is(err, fs.ErrNotExist) {
		return c, fault.New(fault.Precondition, "database %q: there is none; start skerryd up first", where)
	}
	db, err := sqlstore.Open(ctx, where)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	known := environment.New(environment.Deps{Store: db})
	if err := known.Load(ctx); err != nil {
		return c, err
	}
	ids := make([]string, len(t.Environments))
	for i, name := range t.Environments {
		if name == "" {
			return c, fault.New(fault.Invalid, "environment: an empty name; leave it out for a token that opens all")
		}
		if ids[i], err = known.Resolve(name); err != nil {
			return c, err
		}
	}
	return identity.New(db).Create(ctx, t.Name, t.Role, ids...)
}

// LocalTLS is how parts of the same process reach a gateway with TLS: by its very certificate, whatever names that is for. It is nil
// without TLS.
func (s *Server) LocalTLS() (*tls.Config, error) {
	if s.cfg.TLSCert == "" {
		return nil, nil //nolint:nilnil // no TLS, no configuration
	}
	pair, err := tls.LoadX509KeyPair(s.cfg.TLSCert, s.cfg.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("tls certificate %q: %w", s.cfg.TLSCert, err)
	}
	own := pair.Certificate[0]
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// The chain and the name are not checked because the certificate itself is compared.
		InsecureSkipVerify: true, //nolint:gosec // see VerifyConnection
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || subtle.ConstantTimeCompare(state.PeerCertificates[0].Raw, own) != 1 {
				return errors.New("tls: the peer is not this gateway")
			}
			return nil
		},
	}, nil
}
