// Package filesrpc serves skerry.v1.FilesystemService: a container's files to its clients.
package filesrpc

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/guestinit/files"
)

// MaxStreams is how many files are read, written, listed and watched at a time.
const MaxStreams = 1024

// Service serves a tree of files.
type Service struct {
	tree    *files.Tree
	streams atomic.Int64
}

var _ skerryv1connect.FilesystemServiceHandler = (*Service)(nil)

// New returns a service.
func New(tree *files.Tree) *Service { return &Service{tree: tree} }

// enter counts a stream; leave ends it. Errors: fault.Exhausted.
func (s *Service) enter() (leave func(), err error) {
	if s.streams.Add(1) > MaxStreams {
		s.streams.Add(-1)
		return nil, fault.ToConnect(fault.New(fault.Exhausted, "%d files are in use at a time; try again when some are done", MaxStreams))
	}
	return func() { s.streams.Add(-1) }, nil
}

// StatFile describes a file.
func (s *Service) StatFile(
	_ context.Context, req *connect.Request[skerryv1.StatFileRequest],
) (*connect.Response[skerryv1.StatFileResponse], error) {
	i, err := s.tree.Stat(req.Msg.GetPath())
	if err != nil {
		return nil, toConnect(err)
	}
	return connect.NewResponse(&skerryv1.StatFileResponse{Info: toInfo(i)}), nil
}

// ListFiles sends what a directory has.
func (s *Service) ListFiles(
	ctx context.Context, req *connect.Request[skerryv1.ListFilesRequest], stream *connect.ServerStream[skerryv1.ListFilesResponse],
) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	return toConnect(s.tree.List(ctx, req.Msg.GetPath(), func(some []files.Info) error {
		m := &skerryv1.ListFilesResponse{Files: make([]*skerryv1.FileInfo, 0, len(some))}
		for _, i := range some {
			m.Files = append(m.Files, toInfo(i))
		}
		return stream.Send(m)
	}))
}

// MakeDirectory makes a directory.
func (s *Service) MakeDirectory(
	_ context.Context, req *connect.Request[skerryv1.MakeDirectoryRequest],
) (*connect.Response[skerryv1.MakeDirectoryResponse], error) {
	if err := s.tree.MakeDirectory(req.Msg.GetPath(), req.Msg.GetMakeParents(), req.Msg.GetMode()); err != nil {
		return nil, toConnect(err)
	}
	return connect.NewResponse(&skerryv1.MakeDirectoryResponse{}), nil
}

// RemoveFile removes a file or directory.
func (s *Service) RemoveFile(
	_ context.Context, req *connect.Request[skerryv1.RemoveFileRequest],
) (*connect.Response[skerryv1.RemoveFileResponse], error) {
	if err := s.tree.Remove(req.Msg.GetPath(), req.Msg.GetRecursive()); err != nil {
		return nil, toConnect(err)
	}
	return connect.NewResponse(&skerryv1.RemoveFileResponse{}), nil
}

// MoveFile renames a file or directory.
func (s *Service) MoveFile(
	_ context.Context, req *connect.Request[skerryv1.MoveFileRequest],
) (*connect.Response[skerryv1.MoveFileResponse], error) {
	if err := s.tree.Move(req.Msg.GetPath(), req.Msg.GetNewPath()); err != nil {
		return nil, toConnect(err)
	}
	return connect.NewResponse(&skerryv1.MoveFileResponse{}), nil
}

// ChangeFile sets mode and owner.
func (s *Service) ChangeFile(
	_ context.Context, req *connect.Request[skerryv1.ChangeFileRequest],
) (*connect.Response[skerryv1.ChangeFileResponse], error) {
	i, err := s.tree.Change(req.Msg.GetPath(), files.Changes{Mode: req.Msg.Mode, Owner: req.Msg.GetOwner(), Group: req.Msg.GetGroup()})
	if err != nil {
		return nil, toConnect(err)
	}
	return connect.NewResponse(&skerryv1.ChangeFileResponse{Info: toInfo(i)}), nil
}

var types = map[files.Type]skerryv1.FileType{
	files.Regular: skerryv1.FileType_FILE_TYPE_FILE, files.Directory: skerryv1.FileType_FILE_TYPE_DIRECTORY,
	files.Symlink: skerryv1.FileType_FILE_TYPE_SYMLINK,
}

// text is what a message may have of a name, which may be any bytes.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func toInfo(i files.Info) *skerryv1.FileInfo {
	return &skerryv1.FileInfo{
		Name: text(i.Name), Path: text(i.Path), Type: types[i.Type], Size: i.Size, Mode: i.Mode, Owner: text(i.Owner), Group: text(i.Group),
		Uid: i.UID, Gid: i.GID, ModifiedAt: timestamppb.New(i.Modified), SymlinkTarget: text(i.Target),
	}
}

var kinds = map[files.Kind]skerryv1.FileFaultKind{
	files.NotFound:         skerryv1.FileFaultKind_FILE_FAULT_KIND_NOT_FOUND,
	files.IsDirectory:      skerryv1.FileFaultKind_FILE_FAULT_KIND_IS_DIRECTORY,
	files.NotDirectory:     skerryv1.FileFaultKind_FILE_FAULT_KIND_NOT_DIRECTORY,
	files.AlreadyExists:    skerryv1.FileFaultKind_FILE_FAULT_KIND_ALREADY_EXISTS,
	files.PermissionDenied: skerryv1.FileFaultKind_FILE_FAULT_KIND_PERMISSION_DENIED,
	files.NotEmpty:         skerryv1.FileFaultKind_FILE_FAULT_KIND_DIRECTORY_NOT_EMPTY,
	files.TooLarge:         skerryv1.FileFaultKind_FILE_FAULT_KIND_TOO_LARGE,
	files.DiskFull:         skerryv1.FileFaultKind_FILE_FAULT_KIND_DISK_FULL,
	files.NotSupported:     skerryv1.FileFaultKind_FILE_FAULT_KIND_NOT_SUPPORTED,
}

// toConnect turns an error into Connect's, with the detail of one about a file.
func toConnect(err error) error {
	e := new(files.Error)
	if !errors.As(err, &e) || kinds[e.Kind] == skerryv1.FileFaultKind_FILE_FAULT_KIND_UNSPECIFIED {
		return fault.ToConnect(err)
	}
	ce := new(connect.Error)
	if !errors.As(fault.ToConnect(err), &ce) {
		return err
	}
	detail, derr := connect.NewErrorDetail(&skerryv1.FileFault{Kind: kinds[e.Kind], Path: text(e.Path)})
	if derr == nil { // a message that was made here can be packed
		ce.AddDetail(detail)
	}
	return ce
}
