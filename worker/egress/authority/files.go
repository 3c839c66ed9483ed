package authority

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/skerry-dev/skerry/internal/fault"
)

// fileName is the file in the folder: each generation's certificate and, after it, its key.
const fileName = "authority.pem"

const (
	blockCertificate = "CERTIFICATE"
	blockKey         = "PRIVATE KEY"
)

// load reads the generations. No file is no error.
func load(dir string) ([]*generation, error) {
	path := filepath.Join(dir, fileName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Precondition, "certificate authority %s: others may read its key (mode %o); remove the file, and a new one is made",
			path, info.Mode().Perm())
	}
	found, err := parse(text)
	if err != nil {
		return nil, fault.New(fault.Precondition, "certificate authority %s: %v; remove the file, and a new one is made", path, err)
	}
	return found, nil
}

func parse(text []byte) ([]*generation, error) {
	var found []*generation
	for {
		certificate, rest := pem.Decode(text)
		if certificate == nil {
			return found, nil
		}
		private, after := pem.Decode(rest)
		if certificate.Type != blockCertificate || private == nil || private.Type != blockKey {
			return nil, errors.New("not certificates each with its key")
		}
		text = after
		parsed, err := x509.ParseCertificate(certificate.Bytes)
		if err != nil {
			return nil, err
		}
		key, err := x509.ParsePKCS8PrivateKey(private.Bytes)
		if err != nil {
			return nil, errors.New("a key that can't be read") // whose error may quote it
		}
		own, ok := key.(*ecdsa.PrivateKey)
		if !ok || !own.PublicKey.Equal(parsed.PublicKey) {
			return nil, errors.New("a key that is not its certificate's")
		}
		found = append(found, &generation{parsed, own})
	}
}

// store replaces the file; after a crash it is the old or the new one.
func store(dir string, generations []*generation) (err error) {
	var text []byte
	for _, g := range generations {
		key, err := x509.MarshalPKCS8PrivateKey(g.key)
		if err != nil {
			return fmt.Errorf("certificate authority: %w", err)
		}
		text = append(append(text, encode(blockCertificate, g.certificate.Raw)...), encode(blockKey, key)...)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	f, err := os.CreateTemp(dir, fileName+".*") // with mode 0600
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("certificate authority: %w", err), os.Remove(f.Name()))
		}
	}()
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, fileName))
}

func encode(kind string, content []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
}
