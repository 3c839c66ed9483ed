// Package bucketfs is the process that serves a bucket as a file system: rclone's S3 backend and its VFS, behind FUSE. It holds the bucket's
// credentials, runs as a user of its own with no rights on the host, and in a network namespace whose rules are those of containers.
//
// What differs from rclone's own mount is when files are uploaded: at the end of close(2) and of fsync(2), which wait for it. So what a program
// has closed is in the bucket, and what could not be put there is an error of fsync.
package bucketfs

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/skerry-dev/skerry/worker/bucketfs/protocol"
)

// Bounds of a mount.
const (
	// MaxFileBytes is the largest file that can be written: its upload has parts of a size that fits the process's memory.
	MaxFileBytes = 100 << 30
	// maxUploads is how many files are uploaded at a time.
	maxUploads = 8
	// reserveBytes is what writes leave free on the disk of the cache.
	reserveBytes = 1 << 30
)

// settings are what the worker has said.
type settings struct{ protocol.Settings }

// provider is what rclone calls who serves the endpoint, because of differences in the protocol.
func (s *settings) provider() string {
	if s.Endpoint == "" {
		return "AWS"
	}
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return "Other"
	}
	for suffix, name := range map[string]string{
		".amazonaws.com": "AWS", "storage.googleapis.com": "GCS", ".r2.cloudflarestorage.com": "Cloudflare",
	} {
		if strings.HasSuffix(u.Hostname(), suffix) {
			return name
		}
	}
	return "Other"
}

// pathStyle says whether the bucket is in the path of URLs and not in the host name: also where a host can't have names below it.
func (s *settings) pathStyle() bool {
	u, err := url.Parse(s.Endpoint)
	if s.PathStyle || s.Endpoint == "" || err != nil {
		return s.PathStyle
	}
	_, err = netip.ParseAddr(u.Hostname())
	return err == nil || !strings.Contains(u.Hostname(), ".")
}
