package gvisor_test

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/internal/fault"
)

// TestSaveFiles: what differs from the image, with a file larger than the sandbox's memory and one that is mostly hole.
func TestSaveFiles(t *testing.T) {
	w := newWorld(t)
	p := w.params("sb-files")
	p.MemoryLimitMiB = 80
	l := w.listen("sb-files")
	box, err := w.runtime.Launch(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	l.accept()
	for _, code := range []string{
		"import hashlib, shutil; h = hashlib.sha256(); big = open('/root/big', 'wb')",
		"for i in range(120): d = os.urandom(1 << 20); big.write(d); h.update(d)",
		"big.seek(5, 1); big.write(b'end'); h.update(bytes(5) + b'end'); big.close(); os.chmod('/root/big', 0o4750); os.utime('/root/big', (7, 7))",
		"holes = open('/root/holes', 'wb'); holes.truncate(1 << 36); holes.seek(1 << 35); holes.write(b'x'); holes.close()",
		"os.unlink('/etc/passwd'); os.link('/root/big', '/root/other'); os.chown('/root/holes', 5, 6)",
		"shutil.rmtree('/usr/share/doc'); os.mkdir('/usr/share/doc'); os.symlink('no/where', '/root/link')",
		"open('/root/caf\u00e9', 'w').write('name'); open('/dev/shm-not', 'w').write('x'); open('/io/not', 'w').write('x')",
	} {
		l.eval(code)
	}
	files, err := box.SaveFiles(t.Context(), w.dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]tar.Header{}
	for range 2 {
		err := files.Each(t.Context(), func(h *tar.Header, content io.Reader) error {
			got[h.Name] = *h
			if h.Size > 1<<30 {
				return nil
			}
			hash := sha256.New()
			n, err := io.Copy(hash, content)
			if n != h.Size && err == nil {
				t.Errorf("%s: %d bytes of %d", h.Name, n, h.Size)
			}
			if h.Size == 120<<20+8 && hex.EncodeToString(hash.Sum(nil)) != l.eval("h.hexdigest()") {
				t.Error("the large file is another")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// Which of two names comes first is chance.
	first, second := "./root/big", "./root/other"
	if got[first].Typeflag == tar.TypeLink {
		first, second = second, first
	}
	if h := got[first]; h.Mode != 0o4750 || h.Size != 120<<20+8 || h.ModTime.Unix() != 7 {
		t.Errorf("the large file: %+v", h)
	}
	if h := got[second]; h.Typeflag != tar.TypeLink || h.Linkname != first {
		t.Errorf("its other name: %+v", h)
	}
	if h := got["./root/holes"]; h.Size != 1<<36 || h.Uid != 5 || h.Gid != 6 {
		t.Errorf("the hole: %+v", h)
	}
	if h := got["./etc/passwd"]; h.Typeflag != tar.TypeChar || h.Devmajor != 0 || h.Devminor != 0 {
		t.Errorf("the removed file: %+v", h)
	}
	if h := got["./usr/share/doc/"]; h.PAXRecords["SCHILY.xattr.trusted.overlay.opaque"] != "y" {
		t.Errorf("the folder that is another: %+v", h)
	}
	if h := got["./root/link"]; h.Linkname != "no/where" {
		t.Errorf("the link: %+v", h)
	}
	var names []string
	for name := range got {
		if strings.HasPrefix(name, "./io/n") || strings.HasPrefix(name, "./dev/") || strings.HasPrefix(name, "./root/caf") {
			names = append(names, name)
		}
	}
	if diff := cmp.Diff([]string{"./root/café"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if err := files.Close(); err != nil {
		t.Error(err)
	}
	if got := l.eval("1 + 1"); got != "2" {
		t.Error(got)
	}
	if err := box.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := box.SaveFiles(t.Context(), w.dir); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("after the end: %v", err)
	}
}
