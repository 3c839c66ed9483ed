package voltree_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/voltree"
)

var (
	digest = ident.Digest([]byte("x"))
	sample = []voltree.Entry{
		{Name: "a", Type: voltree.File, Mode: 0o644, UID: 1000, GID: 1 << 31, Modified: 1_700_000_000_123_456_789},
		{Name: "b", Type: voltree.File, Mode: 0o4755, Size: 100, Content: voltree.Content{Digest: digest, Offset: 77}, Inode: 1 << 63, Modified: -1},
		{Name: "c", Type: voltree.File, Size: 1 << 35, Content: voltree.Content{Digest: digest, Chunked: true}},
		{Name: "d", Type: voltree.Folder, Mode: 0o1777, Pages: digest, Totals: voltree.Totals{Files: 3, Folders: 2, Bytes: 5, Links: 1, Depth: 2}},
		{Name: "e", Type: voltree.Symlink, Mode: 0o777, Target: "../ä"},
		{Name: "f", Type: voltree.FIFO}, {Name: "g", Type: voltree.Socket},
	}
)

func TestPages(t *testing.T) {
	data, err := voltree.EncodePage(sample)
	if err != nil {
		t.Fatal(err)
	}
	got, err := voltree.DecodePage(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sample, got); d != "" {
		t.Error(d)
	}
	for n := range data {
		if _, err := voltree.DecodePage(data[:n]); !errors.Is(err, fault.DataLoss) {
			t.Errorf("the first %d of %d bytes: %v", n, len(data), err)
		}
	}
	if _, err := voltree.DecodePage(append(data, 0)); !errors.Is(err, fault.DataLoss) {
		t.Errorf("a byte more: %v", err)
	}
	for from, to := range map[string]string{"\x01b\x01": "\x01/\x01", "\x01c\x01": "\x01a\x01", "\x01e\x03": "\x01e\x09", "ä": "\xff\xff"} {
		if _, err := voltree.DecodePage([]byte(strings.Replace(string(data), from, to, 1))); !errors.Is(err, fault.DataLoss) {
			t.Errorf("%q for %q: %v", to, from, err)
		}
	}
}

func TestEntriesThatMakeNoSense(t *testing.T) {
	for name, e := range map[string]voltree.Entry{
		"type":    {Type: 9},
		"mode":    {Type: voltree.File, Mode: 0o100644},
		"nothing": {Type: voltree.File, Content: voltree.Content{Digest: digest}},
		"digest":  {Type: voltree.File, Size: 1, Content: voltree.Content{Digest: "sha256:.."}},
		"beyond":  {Type: voltree.File, Size: 2, Content: voltree.Content{Digest: digest, Offset: voltree.MaxPack - 1}},
		"offset":  {Type: voltree.File, Size: 2, Content: voltree.Content{Digest: digest, Offset: 1, Chunked: true}},
		"target":  {Type: voltree.Symlink},
		"file":    {Type: voltree.File, Target: "x"},
		"folder":  {Type: voltree.Folder, Size: 1, Pages: digest},
		"pages":   {Type: voltree.Folder},
		"deep":    {Type: voltree.Folder, Pages: digest, Totals: voltree.Totals{Depth: voltree.MaxDepth + 1}},
		"many":    {Type: voltree.Folder, Pages: digest, Totals: voltree.Totals{Files: 1 << 63, Folders: 1 << 63}},
	} {
		if err := e.Check(); err == nil {
			t.Errorf("%s: passed", name)
		}
	}
}

func TestPaths(t *testing.T) {
	for path, want := range map[string]string{"": "", "/": "", "a//b/./c/": "a|b|c", "/a b": "a b"} {
		if got, err := voltree.Split(path); err != nil || strings.Join(got, "|") != want {
			t.Errorf("%q: %q, %v", path, got, err)
		}
	}
	for _, path := range []string{"..", "a/../b", "a\x00", "\xff", strings.Repeat("a", 256), strings.Repeat("a/", 2049), strings.Repeat("a/", 1025)} {
		if _, err := voltree.Split(path); !errors.Is(err, fault.Invalid) {
			t.Errorf("%.20q: %v", path, err)
		}
	}
}

func TestRootsAndReaders(t *testing.T) {
	s, err := blob.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put := func(data []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		ref, _, err := s.Add(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		return ref.Digest
	}
	// Three pages under an index.
	var rows []voltree.Row
	for p := range 3 {
		var page []voltree.Entry
		for i := range 10 {
			page = append(page, voltree.Entry{Name: fmt.Sprintf("%d-%d", p, i), Type: voltree.File})
		}
		rows = append(rows, voltree.Row{First: page[0].Name, Digest: put(voltree.EncodePage(page)), Count: 10, Totals: voltree.Totals{Files: 10}})
	}
	root := put(voltree.EncodeRoot(voltree.Entry{
		Type: voltree.Folder, Mode: 0o755, Pages: put(voltree.EncodeIndex(rows)), Totals: voltree.Totals{Files: 30},
	}))
	r := voltree.NewReader(s, 600)
	e, err := r.Root(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for name, want := range map[string]bool{"0-0": true, "1-9": true, "2-9": true, "": false, "0": false, "1-91": false, "3": false} {
			if _, err := r.Lookup(t.Context(), e, name); (err == nil) != want || err != nil && !errors.Is(err, fault.NotFound) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	for after, want := range map[string]int{"": 30, "0-9": 20, "1-4": 15, "2-9": 0} {
		n := 0
		for _, err := range r.Entries(t.Context(), e, after) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != want {
			t.Errorf("after %q: %d, not %d", after, n, want)
		}
	}
	if _, err := r.Find(t.Context(), e, []string{"0-0", "x"}); !errors.Is(err, fault.NotFound) {
		t.Error(err)
	}
	e.Pages = digest
	if _, err := r.Lookup(t.Context(), e, "x"); !errors.Is(err, fault.DataLoss) {
		t.Errorf("of a blob that is not there: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	page, err := voltree.EncodePage(sample)
	if err != nil {
		f.Fatal(err)
	}
	index, err := voltree.EncodeIndex([]voltree.Row{{First: "a", Digest: digest, Count: 7, Totals: voltree.Totals{Files: 7}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(page)
	f.Add(index)
	f.Fuzz(func(t *testing.T, data []byte) {
		if entries, err := voltree.DecodePage(data); err == nil {
			again, err := voltree.EncodePage(entries)
			if err != nil || len(again) > len(data) {
				t.Errorf("%d bytes became %d: %v", len(data), len(again), err)
			}
		}
		if _, err := voltree.DecodeIndex(data); err != nil && !errors.Is(err, fault.DataLoss) {
			t.Error(err)
		}
		if _, err := voltree.DecodeRoot(data); err != nil && !errors.Is(err, fault.DataLoss) {
			t.Error(err)
		}
	})
}
