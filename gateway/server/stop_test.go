package server_test

import (
	"testing"

	"connectrpc.com/connect"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/ident"
)

func TestStopEndsStreams(t *testing.T) {
	t.Parallel()
	g, stop := startIn(t, t.TempDir(), nil)
	id := g.create(t, skerryv1.AppState_APP_STATE_EPHEMERAL)
	follow, err := g.logs.StreamLogs(t.Context(), connect.NewRequest(&skerryv1.StreamLogsRequest{App: id, Follow: true}))
	if err != nil || !follow.Receive() {
		t.Fatal(err, follow.Err())
	}
	// An upload whose client says no more: its handler waits for the client's stream, not for a context.
	upload := g.blob.Upload(t.Context())
	if err := upload.Send(&skerryv1.UploadRequest{Blob: &skerryv1.BlobRef{Digest: ident.Digest([]byte("x")), Size: 1}}); err != nil {
		t.Fatal(err)
	}
	call(t, g.token.GetTokenInfo, &skerryv1.GetTokenInfoRequest{}) // the frame before it on the connection has come
	stop()
	if follow.Receive() {
		t.Error("an entry after the stop")
	}
	wantCode(t, follow.Err(), connect.CodeUnavailable, "the gateway is stopping")
	_, err = upload.CloseAndReceive()
	wantCode(t, err, connect.CodeUnavailable, "")
}
