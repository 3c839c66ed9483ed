package sqlstore_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

func TestProfiles(t *testing.T) {
	db, err := sqlstore.Open(t.Context(), storetest.Where(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	file := ident.Digest([]byte("manifest"))
	if err := db.PutProfile(t.Context(), file, []uint32{1}); !errors.Is(err, fault.NotFound) {
		t.Errorf("of no image: %v", err)
	}
	im := image.Image{ID: "im-1", EROFS: payload.Ref{Digest: file, Size: 9}, Chunked: true}
	if err := db.PutImage(t.Context(), im); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]uint32{nil, {3, 1}, {7}} {
		if want != nil {
			if err := db.PutProfile(t.Context(), file, want); err != nil {
				t.Fatal(err)
			}
		}
		got, err := db.Profile(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}
