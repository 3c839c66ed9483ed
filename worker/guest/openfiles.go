package guest

import (
	"context"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	guestv1 "github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1"
	"github.com/skerry-dev/skerry/worker/container"
)

// OpenFiles returns what processes have open at or below some paths; not all of very many.
func (c *Client) OpenFiles(ctx context.Context, paths []string) ([]container.OpenFile, error) {
	res, err := c.rpc.ListOpenFiles(ctx, connect.NewRequest(&guestv1.ListOpenFilesRequest{Paths: paths}))
	if err != nil {
		return nil, fault.FromConnect(err)
	}
	var files []container.OpenFile
	for _, f := range res.Msg.GetFiles() {
		files = append(files, container.OpenFile{Path: f.GetPath(), Command: f.GetCommand(), WorkingDirectory: f.GetWorkingDirectory()})
	}
	return files, nil
}
