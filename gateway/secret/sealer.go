package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/nacl/secretbox"

	"github.com/skerry-dev/skerry/internal/fault"
)

const (
	keySize   = 32
	nonceSize = 24
)

// Sealer encrypts secrets, each with a data key of its own that is sealed in turn under the master key: changing the master key needs
// the data keys sealed again, not the values.
type Sealer struct{ master [keySize]byte }

// OpenSealer reads the master key's file, or makes it (mode 0600, synced) where there is none. A file that others may read is refused.
func OpenSealer(path string) (*Sealer, error) {
	s := &Sealer{}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(path); err != nil {
			return nil, fmt.Errorf("master key %q: %w", path, err)
		}
	}
	f, err := os.Open(path)
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
	if _, err := io.ReadFull(f, s.master[:]); err != nil {
		return nil, fmt.Errorf("master key %q: %w", path, err)
	}
	return s, nil
}

// makeKey writes a key beside its final place first, so that a crash leaves no half of one.
func makeKey(path string) error {
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(key)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Seal encrypts plain for the secret of the id; Open refuses it for another.
func (s *Sealer) Seal(id string, plain []byte) ([]byte, error) {
	var dataKey [keySize]byte
	if _, err := rand.Read(dataKey[:]); err != nil {
		return nil, fmt.Errorf("secret %q: %w", id, err)
	}
	sealedKey, err := box(dataKey[:], &s.master)
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", id, err)
	}
	bound := sha256.Sum256([]byte(id))
	sealed, err := box(append(bound[:], plain...), &dataKey)
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", id, err)
	}
	return append(sealedKey, sealed...), nil
}

// Open decrypts what Seal returned. Errors: fault.DataLoss where the master key is another or the bytes were changed.
func (s *Sealer) Open(id string, sealed []byte) ([]byte, error) {
	const headSize = nonceSize + secretbox.Overhead + keySize
	broken := fault.New(fault.DataLoss, "secret %q: cannot be opened with this master key", id)
	if len(sealed) < headSize {
		return nil, broken
	}
	key, ok := unbox(sealed[:headSize], &s.master)
	if !ok || len(key) != keySize {
		return nil, broken
	}
	plain, ok := unbox(sealed[headSize:], (*[keySize]byte)(key))
	if !ok || len(plain) < sha256.Size {
		return nil, broken
	}
	if bound := sha256.Sum256([]byte(id)); [sha256.Size]byte(plain[:sha256.Size]) != bound {
		return nil, broken
	}
	return plain[sha256.Size:], nil
}

func box(plain []byte, key *[keySize]byte) ([]byte, error) {
	var nonce [nonceSize]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, err
	}
	return secretbox.Seal(nonce[:], plain, &nonce, key), nil
}

func unbox(sealed []byte, key *[keySize]byte) ([]byte, bool) {
	if len(sealed) < nonceSize {
		return nil, false
	}
	return secretbox.Open(nil, sealed[nonceSize:], (*[nonceSize]byte)(sealed[:nonceSize]), key)
}
