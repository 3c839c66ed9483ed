// Command s3server serves buckets in a folder to tests, over versitygw: a real S3 server that is one process and needs nothing else.
//
//	s3server FOLDER BUCKET...
//
// It listens on a free port of 127.0.0.1, makes the buckets that are missing, and prints its URL as one line when it takes requests. The
// key pair is AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the region us-east-1. It ends with SIGTERM, or when its standard input ends: so it
// does not outlive the test that started it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/metrics"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

const region = "us-east-1"

// maxRequests is how many requests are served at a time, and how many connections there are.
const maxRequests = 4096

// maxCopy is the largest object that one request copies, in bytes, as at Amazon's.
const maxCopy = 5 << 30

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "s3server:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	root := middlewares.RootUserConfig{Access: os.Getenv("AWS_ACCESS_KEY_ID"), Secret: os.Getenv("AWS_SECRET_ACCESS_KEY")}
	if len(args) < 2 || root.Access == "" || root.Secret == "" {
		return errors.New("want FOLDER BUCKET..., and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	folder, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	files, err := posix.New(folder, meta.XattrMeta{}, posix.PosixOpts{Concurrency: maxRequests, CopyObjectThreshold: maxCopy})
	if err != nil {
		return err
	}
	defer files.Shutdown()
	for _, bucket := range args[1:] {
		if err := makeBucket(ctx, files, bucket, root.Access); err != nil {
			return fmt.Errorf("bucket %q: %w", bucket, err)
		}
	}
	return serve(ctx, files, root)
}

// makeBucket makes a bucket that is the root account's.
func makeBucket(ctx context.Context, files backend.Backend, bucket, owner string) error {
	if _, err := os.Stat(bucket); err == nil { // posix.New has made the folder the working directory
		return nil
	}
	acl, err := json.Marshal(auth.ACL{Owner: owner, Grantees: []auth.Grantee{{Permission: auth.PermissionFullControl, Access: owner, Type: types.TypeCanonicalUser}}})
	if err != nil {
		return err
	}
	return files.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket, CreateBucketConfiguration: &types.CreateBucketConfiguration{}}, acl)
}

// serve answers requests until ctx or the standard input ends. A port that another process takes between its choice and its use is one of
// many: the next is tried.
func serve(ctx context.Context, files backend.Backend, root middlewares.RootUserConfig) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	for {
		address, err := freePort()
		if err != nil {
			return err
		}
		server, err := newServer(files, root, func() { fmt.Println("http://" + address) })
		if err != nil {
			return err
		}
		failed := make(chan error, 1)
		go func() { failed <- server.ServeMultiPort([]string{address}) }()
		select {
		case <-ctx.Done():
			return server.ShutDown()
		case <-ended:
			return server.ShutDown()
		case err := <-failed:
			if !errors.Is(err, syscall.EADDRINUSE) {
				return err
			}
		}
	}
}

func newServer(files backend.Backend, root middlewares.RootUserConfig, ready func()) (*s3api.S3ApiServer, error) {
	iam := auth.NewIAMServiceSingle(auth.Account{Access: root.Access, Secret: root.Secret, Role: auth.RoleAdmin})
	return s3api.New(files, root, region, iam, nil, nil, nil, metrics.Manager(nil), s3api.WithQuiet(), s3api.WithKeepAlive(),
		s3api.WithConcurrencyLimiter(maxRequests, maxRequests), s3api.WithOnListen(ready))
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
