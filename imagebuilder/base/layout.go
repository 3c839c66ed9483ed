package base

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// layoutWriter makes an OCI layout of one layer in a folder.
type layoutWriter struct{ dir string }

func (l layoutWriter) blobs() string { return filepath.Join(l.dir, "blobs", "sha256") }

// layer stores an uncompressed layer.
func (l layoutWriter) layer(r io.Reader) (descriptor, error) {
	if err := os.MkdirAll(l.blobs(), 0o755); err != nil {
		return descriptor{}, err
	}
	f, err := os.Create(filepath.Join(l.blobs(), "new"))
	if err != nil {
		return descriptor{}, err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), r)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return descriptor{}, err
	}
	name := hex.EncodeToString(sum.Sum(nil))
	return descriptor{MediaType: "application/vnd.oci.image.layer.v1.tar", Digest: "sha256:" + name, Size: n},
		os.Rename(f.Name(), filepath.Join(l.blobs(), name))
}

func (l layoutWriter) blob(mediaType string, content any) (descriptor, error) {
	data, err := json.Marshal(content)
	if err != nil {
		return descriptor{}, err
	}
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	return descriptor{MediaType: mediaType, Digest: "sha256:" + name, Size: int64(len(data))},
		os.WriteFile(filepath.Join(l.blobs(), name), data, 0o644) //nolint:gosec // bases hold nothing secret
}

// finish writes what makes an image of the layer and returns the digest of its manifest.
func (l layoutWriter) finish(layer descriptor, env []string) (string, error) {
	type object = map[string]any
	config, err := l.blob("application/vnd.oci.image.config.v1+json", object{
		"architecture": runtime.GOARCH, "os": "linux", "config": object{"Env": env},
		"rootfs": object{"type": "layers", "diff_ids": []string{layer.Digest}},
	})
	if err != nil {
		return "", err
	}
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	manifest, err := l.blob(manifestType, object{
		"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": []descriptor{layer},
	})
	if err != nil {
		return "", err
	}
	index := object{"schemaVersion": 2, "manifests": []descriptor{manifest}}
	return manifest.Digest, errors.Join(
		l.file("index.json", index), l.file("oci-layout", object{"imageLayoutVersion": "1.0.0"}))
}

func (l layoutWriter) file(name string, content any) error {
	data, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	f, err := os.Create(filepath.Join(l.dir, name))
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
