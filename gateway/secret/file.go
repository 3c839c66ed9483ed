package secret

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/skerry-dev/skerry/internal/fault"
)

// fileKey is a master key in a file.
type fileKey struct {
	id     string
	secret [keySize]byte
}

var _ Key = (*fileKey)(nil)

// ID implements Key: a hash of the key, in a domain of its own.
func (k *fileKey) ID() string { return k.id }

// Seal implements Key.
func (k *fileKey) Seal(_ context.Context, plain []byte) ([]byte, error) { return box(plain, &k.secret) }

// Open implements Key.
func (k *fileKey) Open(_ context.Context, sealed []byte) ([]byte, error) {
	plain, ok := unbox(sealed, &k.secret)
	if !ok {
		return nil, fault.New(fault.DataLoss, "cannot be opened with master key %s: its bytes were changed", k.id)
	}
	return plain, nil
}

// ReadKey reads a master key's file. One that others may read is refused. Errors: fault.NotFound, fault.Precondition, fault.DataLoss.
func ReadKey(path string) (Key, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "master key %q: there is none", path)
	}
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	defer f.Close() // read only
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("master key %q: %w", path, err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Precondition, "master key %q: mode is %#o, so others can read it; run chmod 600", path, st.Mode().Perm())
	}
	if st.Size() != keySize {
		return nil, fault.New(fault.DataLoss, "master key %q: %d bytes, want %d; restore it from a backup", path, st.Size(), keySize)
	}
	k := &fileKey{}
	if _, err := io.ReadFull(f, k.secret[:]); err != nil {
		return nil, fmt.Errorf("master key %q: %w", path, err)
	}
	sum := sha256.Sum256(append([]byte("skerry master key\x00"), k.secret[:]...))
	k.id = "file-" + hex.EncodeToString(sum[:8])
	return k, nil
}

// MakeKey makes a master key's file (mode 0600, synced). It is written beside its final place first, so that a crash leaves no half of one.
// What is there is replaced.
func MakeKey(path string) error {
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	return WriteKey(path, key)
}

// WriteKey makes the file of a master key that there is, as MakeKey does.
func WriteKey(path string, key []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	_, err = f.Write(key)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("master key %q: %w", tmp, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
