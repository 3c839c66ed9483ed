package blob_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/s3test"
)

// age makes a blob older.
func (s *store) age(t *testing.T, digest string, by time.Duration) {
	t.Helper()
	at := time.Now().Add(-by)
	if err := os.Chtimes(s.file(digest), at, at); err != nil {
		t.Fatal(err)
	}
}

// TestTimes: a claim makes a blob young, and a collection spares it.
func TestTimes(t *testing.T) { each(t, testTimes) }

func testTimes(t *testing.T, s *store) {
	const day = 24 * time.Hour
	var digests []string
	for i := range 6 {
		digests = append(digests, put(t, s, fmt.Sprint("blob ", i)))
		s.age(t, digests[i], 10*day)
	}
	for _, i := range []int{1, 3} {
		if size, err := s.Claim(t.Context(), digests[i]); err != nil || size != 6 {
			t.Errorf("claim: %d, %v", size, err)
		}
	}
	if _, err := s.Claim(t.Context(), ident.Digest([]byte("none"))); !errors.Is(err, fault.NotFound) {
		t.Errorf("claim of none: %v", err)
	}
	if _, stored, err := s.Add(t.Context(), []byte("blob 4")); err != nil || stored {
		t.Errorf("add of what is there: %t, %v", stored, err)
	}
	young := map[string]bool{digests[1]: true, digests[3]: true, digests[4]: true}
	var listed []string
	err := s.List(t.Context(), func(e blob.Entry) error {
		listed = append(listed, e.Digest)
		if is := time.Since(e.Time) < day; is != young[e.Digest] {
			t.Errorf("%s is young: %t", e.Digest, is)
		}
		return nil
	})
	if err != nil || len(listed) != len(digests) || !slices.IsSorted(listed) {
		t.Errorf("listed %v, %v", listed, err)
	}
	before := time.Now().Add(-day)
	for _, d := range append(digests, ident.Digest([]byte("none"))) {
		removed, err := s.Remove(t.Context(), d, before)
		if err != nil || removed != (slices.Contains(digests, d) && !young[d]) {
			t.Errorf("removed %s: %t, %v", d, removed, err)
		}
		if has, err := s.Has(t.Context(), d); err != nil || has != young[d] {
			t.Errorf("has %s: %t, %v", d, has, err)
		}
	}
	if removed, err := s.Remove(t.Context(), digests[1], time.Now().Add(day)); err != nil || !removed {
		t.Errorf("removed one that was claimed: %t, %v", removed, err)
	}
}

// TestClaimsWhileCollecting: whoever claimed a blob, or stored it, has it.
func TestClaimsWhileCollecting(t *testing.T) { each(t, testClaimsWhileCollecting) }

func testClaimsWhileCollecting(t *testing.T, s *store) {
	const rounds = 20
	for i := range rounds {
		content := fmt.Sprint("round ", i)
		digest := put(t, s, content)
		s.age(t, digest, 10*24*time.Hour)
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := s.Remove(t.Context(), digest, time.Now().Add(-time.Hour)); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if _, _, err := s.Add(t.Context(), []byte(content)); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		if data, err := s.ReadAll(t.Context(), digest, 100); err != nil || string(data) != content {
			t.Fatalf("round %d: %q, %v", i, data, err)
		}
	}
}

func TestBucketsThatCantBe(t *testing.T) {
	s3test.Setenv(t)
	server := s3test.Start(t, "bucket")
	for url, kind := range map[string]*fault.Kind{
		server.BlobURL("other"):  fault.Unavailable,
		"s3://key:secret@bucket": fault.Invalid,
		"http://bucket":          fault.Invalid,
		"s3://":                  fault.Invalid,
		server.BlobURL("bucket") + "&nonsense=true": fault.Invalid,
	} {
		_, err := blob.OpenBucket(t.Context(), url, t.TempDir())
		if !errors.Is(err, kind) || strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%s: %v; want %v", url, err, kind)
		}
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	if _, err := blob.OpenBucket(t.Context(), server.BlobURL("bucket"), t.TempDir()); !errors.Is(err, fault.Unavailable) {
		t.Errorf("with a wrong key: %v", err)
	}
}

// TestABucketThatIsGone names the cause, and works again when it is back.
func TestABucketThatIsGone(t *testing.T) {
	s3test.Setenv(t)
	server := s3test.Start(t, "bucket")
	s, err := blob.OpenBucket(t.Context(), server.BlobURL("bucket")+"&prefix=installation/", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ref, _, err := s.Add(t.Context(), []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	place := filepath.Join(server.Folder, "bucket", "installation", "sha256", ref.Digest[7:9])
	if _, err := os.Stat(place); err != nil {
		t.Errorf("the prefix is not used: %v", err)
	}
	if err := os.Rename(filepath.Join(server.Folder, "bucket"), filepath.Join(server.Folder, "away")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Add(t.Context(), []byte("more")); err == nil {
		t.Error("stored in a bucket that is not there")
	}
	if err := os.Rename(filepath.Join(server.Folder, "away"), filepath.Join(server.Folder, "bucket")); err != nil {
		t.Fatal(err)
	}
	if data, err := s.ReadAll(t.Context(), ref.Digest, 100); err != nil || string(data) != "content" {
		t.Errorf("%q, %v", data, err)
	}
}
