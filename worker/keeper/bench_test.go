package keeper

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/skerry-dev/skerry/internal/cas"
)

// BenchmarkReads reads an image of 256 MiB in another process: as chunks come from the worker, from a new mount over chunks on the disk, and from
// what the kernel has kept.
func BenchmarkReads(b *testing.B) {
	const chunk, count = 1 << 20, 256
	r := newRig(b)
	content := make([]byte, chunk*count)
	_, _ = rand.NewChaCha8([32]byte{5}).Read(content) // never fails
	sizes := make([]uint32, count)
	for i := range sizes {
		sizes[i] = chunk
	}
	w, err := cas.Write(b.Context(), r.source, bytes.NewReader(content), sizes, []cas.Range{{Size: chunk}})
	if err != nil {
		b.Fatal(err)
	}
	r.Image = w.File
	// Another is read first, as by a keeper that has served for a while.
	content[0]++
	slices.Reverse(content)
	other, err := cas.Write(b.Context(), r.source, bytes.NewReader(content), sizes, []cas.Range{{Size: chunk}})
	if err != nil {
		b.Fatal(err)
	}
	read := func(b *testing.B, path string) {
		b.Helper()
		if out, err := exec.CommandContext(b.Context(), "dd", "if="+path, "of=/dev/null", "bs=1M").CombinedOutput(); err != nil || !bytes.Contains(out, []byte("256+0 records in")) {
			b.Fatalf("%v: %s", err, out)
		}
	}
	run := func(name string, before func(c *Client) (path string, after func())) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(chunk * count)
			for range b.N {
				b.StopTimer()
				c := r.client(b)
				path, after := before(c)
				b.StartTimer()
				read(b, path)
				b.StopTimer()
				after()
				c.close(b)
			}
		})
	}
	open := func(c *Client) (path string, after func()) {
		first, give, err := c.Open(b.Context(), other.File)
		if err != nil {
			b.Fatal(err)
		}
		read(b, first)
		path, release, err := c.Open(b.Context(), r.Image)
		if err != nil {
			b.Fatal(err)
		}
		return path, func() {
			give()
			release()
		}
	}
	run("first", func(c *Client) (path string, after func()) {
		if err := os.RemoveAll(filepath.Join(r.CacheDir, "chunks")); err != nil {
			b.Fatal(err)
		}
		return open(c)
	})
	run("chunks", open)
	run("again", func(c *Client) (path string, after func()) {
		path, after = open(c)
		read(b, path)
		return path, after
	})
}
