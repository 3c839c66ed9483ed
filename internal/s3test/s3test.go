// Package s3test gives tests a real S3 server of their own: tools/s3server, which make builds into bin/.
package s3test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/testbase"
)

// The key pair and region of every server.
const (
	AccessKey = "skerry-test"
	SecretKey = "skerry-test-secret"
	Region    = "us-east-1"
)

// Server is an S3 server that runs.
type Server struct {
	// URL is where it takes requests, as http://127.0.0.1:port; buckets are in the path.
	URL string
	// Folder holds what is stored, as folder BUCKET and file KEY, for tests that look at it or damage it.
	Folder string

	command *exec.Cmd
	input   interface{ Close() error }
}

// Start starts a server with some buckets; it is stopped at the end of the test, and what it stores removed. A server that does not start
// fails the test.
func Start(t testing.TB, buckets ...string) *Server {
	t.Helper()
	s, err := Open(context.WithoutCancel(t.Context()), testbase.Tool(t, "s3server"), t.TempDir(), buckets...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("S3 server: %v", err)
		}
	})
	return s
}

// Open is Start for those without a test, such as a TestMain: program is the server's, folder where it stores. The caller closes
// it; the end of ctx kills it.
func Open(ctx context.Context, program, folder string, buckets ...string) (*Server, error) {
	s := &Server{Folder: folder}
	s.command = exec.CommandContext(ctx, program, append([]string{folder}, buckets...)...)
	s.command.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+AccessKey, "AWS_SECRET_ACCESS_KEY="+SecretKey)
	s.command.Stderr = os.Stderr
	input, err := s.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.input = input
	output, err := s.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("S3 server: %w", err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("S3 server: ended before it took requests: %w", errors.Join(err, s.Close()))
	}
	s.URL = strings.TrimSpace(line)
	return s, nil
}

// Close stops the server.
func (s *Server) Close() error {
	_ = s.input.Close() // it ends when its input does; one that has ended already has no input
	return s.command.Wait()
}

// BlobURL is a bucket's URL as the setting "blobs" takes it. It has no credentials: Setenv gives them.
func (s *Server) BlobURL(bucket string) string {
	q := url.Values{}
	q.Set("endpoint", s.URL)
	q.Set("region", Region)
	return "s3://" + bucket + "?" + q.Encode()
}

// Setenv has clients in this process find the credentials where they look for them, until the end of the test, which can't be parallel.
func Setenv(t testing.TB) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", SecretKey)
}
