package sqlstore_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/gateway/layer"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/snapshot"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

func TestImages(t *testing.T) {
	db, ctx := openCalls(t), t.Context()
	at := time.UnixMilli(1_000_000).UTC()
	im := image.Image{
		ID: "im-1", EROFS: payload.Ref{Digest: ident.Digest(nil), Size: 1 << 40}, Chunked: true, Env: map[string]string{"A": "b"}, Recipe: []byte{0, 255},
		CreatedAt: at, Entrypoint: []string{"e"}, Cmd: []string{}, Shell: []string{"sh"}, User: "u", TTL: time.Hour, UsedAt: at,
	}
	for range 2 {
		if err := db.PutImage(ctx, im); err != nil {
			t.Fatal(err)
		}
	}
	got, err := db.Image(ctx, "im-1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(im, *got); diff != "" {
		t.Error(diff)
	}
	files := 0
	if err := db.ImageFiles(ctx, func(digest string, chunked bool) error {
		files++
		return errors.Join(ident.CheckDigest(digest), map[bool]error{false: errors.New("not chunked")}[chunked])
	}); err != nil || files != 1 {
		t.Errorf("%d files, %v", files, err)
	}
	if err := db.PutImageLog(ctx, "im-1", []image.StepLog{{}}); err != nil {
		t.Error(err)
	}
	if log, err := db.ImageLog(ctx, "im-1"); err != nil || len(log) != 1 {
		t.Errorf("log %v, %v", log, err)
	}
	if err := db.UseImage(ctx, "im-1", at.Add(time.Minute)); err != nil {
		t.Error(err)
	}
	for after, stale := range map[time.Duration]int{time.Hour: 0, 2 * time.Hour: 1} {
		if ids, err := db.StaleImages(ctx, at.Add(after)); err != nil || len(ids) != stale {
			t.Errorf("stale after %s: %v, %v", after, ids, err)
		}
	}
	name := image.Name{Environment: "main", Name: "n", Tag: "t"}
	if err := db.PutName(ctx, image.Named{Name: name, ImageID: "im-1", Public: true, UpdatedAt: at}); err != nil {
		t.Fatal(err)
	}
	if users, err := db.ImageUsers(ctx, "im-1"); err != nil || !cmp.Equal(users, []string{`name "n:t"`}) {
		t.Errorf("users %v, %v", users, err)
	}
	if list, err := db.ListNames(ctx, "", ""); err != nil || len(list) != 1 || !list[0].Public {
		t.Errorf("names %v, %v", list, err)
	}
	if err := db.DeleteImage(ctx, "im-1"); err != nil {
		t.Error(err)
	}
	if list, err := db.Images(ctx, 10); err != nil || len(list) != 0 {
		t.Errorf("images %v, %v", list, err)
	}
	if err := db.DeleteImage(ctx, "im-1"); !errors.Is(err, fault.NotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestLayers(t *testing.T) {
	db, ctx, now := openCalls(t), t.Context(), time.UnixMilli(1e12).UTC()
	for i := range 2 {
		if err := db.PutLayers(ctx, layer.Entry{Bundle: fmt.Sprint("b", i), Bytes: 5, UsedAt: now}, []string{"x", fmt.Sprint("y", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := db.FindLayers(ctx, []string{"x", "none", "y0"}, now.Add(2*time.Hour)); err != nil || !cmp.Equal(found, []string{"b1", "", "b0"}) {
		t.Errorf("found %v, %v", found, err)
	}
	if err := db.ForgetLayers(ctx, "b0"); err != nil {
		t.Error(err)
	}
	if all, err := db.Layers(ctx); err != nil || len(all) != 1 || !all[0].UsedAt.Equal(now.Add(2*time.Hour)) {
		t.Errorf("layers %v, %v", all, err)
	}
}

func TestSandboxes(t *testing.T) {
	db, ctx := openCalls(t), t.Context()
	live := sandbox.Sandbox{ID: "sb-1", AppID: "ap-1", CreatedAt: time.Now().UTC()}
	ended := live
	ended.ID, ended.End = "sb-2", &sandbox.End{At: time.Now().UTC()}
	if err := db.PutSandboxes(ctx, []sandbox.Sandbox{live, ended}); err != nil {
		t.Fatal(err)
	}
	if list, err := db.LiveSandboxes(ctx); err != nil || len(list) != 1 || list[0].ID != "sb-1" {
		t.Errorf("live %v, %v", list, err)
	}
	if list, err := db.EndedSandboxes(ctx, time.Time{}, 10); err != nil || len(list) != 1 || list[0].ID != "sb-2" {
		t.Errorf("ended %v, %v", list, err)
	}
	for _, id := range []string{"sb-1", "sb-2"} {
		if err := db.ClaimSandboxName(ctx, "ap-1", id, id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	if err := db.ClaimSandboxName(ctx, "ap-1", "sb-1", "sb-3"); !errors.Is(err, fault.Exists) {
		t.Errorf("of a live one: %v", err)
	}
	if err := db.ClaimSandboxName(ctx, "ap-1", "sb-2", "sb-3"); err != nil {
		t.Errorf("of one that has ended: %v", err)
	}
	if err := db.ReleaseSandboxNames(ctx, "sb-1"); err != nil {
		t.Error(err)
	}
	s := snapshot.Snapshot{ID: "sn-1", Sandbox: live, Manifest: ident.Digest(nil), Size: 7, CreatedAt: live.CreatedAt.Truncate(time.Millisecond)}
	if err := db.PutSnapshot(ctx, s); err != nil {
		t.Fatal(err)
	}
	s.ID, s.ExpiresAt = "sn-2", time.UnixMilli(1).UTC()
	if err := db.PutSnapshot(ctx, s); err != nil {
		t.Fatal(err)
	}
	if list, err := db.ExpiredSnapshots(ctx, time.Now()); err != nil || len(list) != 1 || list[0].ID != "sn-2" {
		t.Errorf("expired %v, %v", list, err)
	}
	if err := db.DeleteSnapshot(ctx, "sn-1"); err != nil {
		t.Error(err)
	}
	if _, err := db.Snapshot(ctx, "sn-1"); !errors.Is(err, fault.NotFound) {
		t.Errorf("deleted: %v", err)
	}
}

func TestTokensAndTrees(t *testing.T) {
	db, ctx := openCalls(t), t.Context()
	token := identity.Record{Token: identity.Token{ID: "tk", Name: "n", Role: identity.Admin, CreatedAt: time.UnixMilli(3).UTC()}, SecretHash: "h"}
	if err := db.CreateToken(ctx, token); err != nil {
		t.Fatal(err)
	}
	if n, err := db.CountTokens(ctx, identity.Admin); err != nil || n != 1 {
		t.Errorf("%d tokens, %v", n, err)
	}
	digest := ident.Digest(nil)
	for range 2 {
		if err := db.AddTree(ctx, digest, 3, 1<<40); err != nil {
			t.Fatal(err)
		}
	}
	if has, err := db.HasTree(ctx, digest); err != nil || !has {
		t.Errorf("has %t, %v", has, err)
	}
	if gone, err := db.ForgetTree(ctx, digest, time.UnixMilli(1)); err != nil || gone {
		t.Errorf("a young one is forgotten: %t, %v", gone, err)
	}
	big := spawned("fc-big", 0)
	big.Inputs[0].Args = payload.Payload{Blob: &payload.Ref{Digest: digest, Size: 1}}
	if err := db.Accept(ctx, []call.Accept{big}); err != nil {
		t.Fatal(err)
	}
	var referred []string
	if err := db.Referred(ctx, time.Now(), func(d string) { referred = append(referred, d) }); err != nil || !cmp.Equal(referred, []string{digest}) {
		t.Errorf("referred %v, %v", referred, err)
	}
	if err := db.Trees(ctx, func(d string) error { _, err := db.ForgetTree(ctx, d, time.Now().Add(time.Hour)); return err }); err != nil {
		t.Error(err)
	}
	if has, err := db.HasTree(ctx, digest); err != nil || has {
		t.Errorf("has what is forgotten: %t, %v", has, err)
	}
	if inputs, err := db.PendingFrom(ctx, payload.Key{CallID: "fc-none"}, 1); err != nil || len(inputs) != 0 {
		t.Errorf("pending %v, %v", inputs, err)
	}
}
