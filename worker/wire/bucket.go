// Package wire turns generated types that both of the worker's links carry into the worker's own.
package wire

import (
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/worker/container"
)

// BucketsFromProto returns buckets with what they are opened with, which has their order. Errors: fault.Invalid.
func BucketsFromProto(mounts []*skerryv1.BucketMount, credentials []*workerv1.BucketCredentials) ([]container.BucketMount, error) {
	if len(mounts) != len(credentials) {
		return nil, fault.New(fault.Invalid, "%d buckets with credentials for %d", len(mounts), len(credentials))
	}
	var out []container.BucketMount
	for i, m := range mounts {
		c := credentials[i]
		out = append(out, container.BucketMount{
			Path: m.GetPath(), Bucket: m.GetBucketName(), Endpoint: m.GetEndpointUrl(), Prefix: m.GetKeyPrefix(),
			ReadOnly: m.GetReadOnly(), RequesterPays: m.GetRequesterPays(), PathStyle: m.GetForcePathStyle(),
			AccessKey: c.GetAccessKey(), SecretKey: c.GetSecretKey(), SessionToken: c.GetSessionToken(), Region: c.GetRegion(),
		})
	}
	return out, nil
}
