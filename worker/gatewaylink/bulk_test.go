package gatewaylink

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// TestBlobsAreChecked has a gateway that sends something else than was asked for.
func TestBlobsAreChecked(t *testing.T) {
	g := newGateway(t)
	bulk := NewBulk(g.dialer(t).BulkClient())
	data := bytes.Repeat([]byte("data"), 1000)
	digest := ident.Digest(data)
	other := bytes.Clone(data)
	other[len(other)-1]++
	for name, c := range map[string]struct {
		sent []byte
		size int
		want error
	}{
		"as it is":     {data, len(data), nil},
		"other bytes":  {other, len(data), fault.DataLoss},
		"cut":          {data[:len(data)-1], len(data), fault.DataLoss},
		"longer":       {append(bytes.Clone(data), 'x'), len(data), fault.DataLoss},
		"another size": {data, len(data) + 1, fault.DataLoss},
		"nothing":      {nil, len(data), fault.DataLoss},
	} {
		g.blobs[digest] = c.sent
		r, err := bulk.Open(t.Context(), payload.Ref{Digest: digest, Size: uint64(c.size)})
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r)
			err = errors.Join(err, r.Close())
		}
		if c.want == nil && (err != nil || !bytes.Equal(got, data)) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if _, err := bulk.Open(t.Context(), payload.Ref{Digest: ident.Digest([]byte("none"))}); !errors.Is(err, fault.NotFound) {
		t.Errorf("a blob that there is not: %v", err)
	}
	if _, err := bulk.Open(t.Context(), payload.Ref{Digest: "../x"}); !errors.Is(err, fault.Invalid) {
		t.Errorf("a path: %v", err)
	}
}

func TestBlobsOfContainers(t *testing.T) {
	g := newGateway(t)
	bulk := NewBulk(g.dialer(t).BulkClient())
	for _, size := range []int{0, 1, maxFrame, 2*maxFrame + 7} {
		data := bytes.Repeat([]byte("z"), size)
		w, err := bulk.Create(t.Context())
		ok(t, err)
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 300_000)
			_, err := w.Write(rest[:n])
			ok(t, err)
			rest = rest[n:]
		}
		ref, err := w.Commit()
		ok(t, err)
		if want := (payload.Ref{Digest: ident.Digest(data), Size: uint64(size)}); ref != want || !bytes.Equal(await(t, g.stored, "stored"), data) {
			t.Errorf("%d bytes: stored as %v", size, ref)
		}
	}
	w, err := bulk.Create(t.Context())
	ok(t, err)
	_, err = w.Write(make([]byte, 2*maxFrame))
	ok(t, err)
	w.Abort()
	if len(g.stored) > 0 {
		t.Error("a blob that was given up is stored")
	}
}

func TestBlobsOfSnapshots(t *testing.T) {
	g := newGateway(t)
	bulk := NewBulk(g.dialer(t).BulkClient())
	old, fresh := []byte("old"), bytes.Repeat([]byte("fresh"), 500_000)
	g.blobs[ident.Digest(old)] = old
	for _, data := range [][]byte{old, fresh} {
		ref, stored, err := bulk.Add(t.Context(), data)
		ok(t, err)
		if want := (payload.Ref{Digest: ident.Digest(data), Size: uint64(len(data))}); ref != want || stored != (len(data) > len(old)) {
			t.Errorf("%d bytes: %v, stored %t", len(data), ref, stored)
		}
	}
	if got := await(t, g.stored, "stored"); !bytes.Equal(got, fresh) {
		t.Errorf("%d bytes are stored", len(got))
	}
	if len(g.stored) > 0 {
		t.Error("what is there is stored again")
	}
	ok(t, bulk.Claim(t.Context(), ident.Digest(old)))
	if err := bulk.Claim(t.Context(), ident.Digest(fresh)); !errors.Is(err, fault.NotFound) {
		t.Errorf("a blob that there is not: %v", err)
	}
}
