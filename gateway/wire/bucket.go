package wire

import (
	"github.com/skerry-dev/skerry/gateway/function"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
)

// BucketMountsToProto returns the messages of buckets that are mounted.
func BucketMountsToProto(mounts []function.BucketMount) []*skerryv1.BucketMount {
	out := make([]*skerryv1.BucketMount, 0, len(mounts))
	for _, m := range mounts {
		out = append(out, &skerryv1.BucketMount{
			Path: m.Path, BucketName: m.Bucket, EndpointUrl: m.Endpoint, KeyPrefix: m.Prefix, SecretId: m.SecretID,
			ReadOnly: m.ReadOnly, RequesterPays: m.RequesterPays, ForcePathStyle: m.PathStyle,
		})
	}
	return out
}

// BucketMountsFromProto returns buckets that are to be mounted. They are not checked yet.
func BucketMountsFromProto(messages []*skerryv1.BucketMount) []function.BucketMount {
	var out []function.BucketMount
	for _, m := range messages {
		out = append(out, function.BucketMount{
			Path: m.GetPath(), Bucket: m.GetBucketName(), Endpoint: m.GetEndpointUrl(), Prefix: m.GetKeyPrefix(), SecretID: m.GetSecretId(),
			ReadOnly: m.GetReadOnly(), RequesterPays: m.GetRequesterPays(), PathStyle: m.GetForcePathStyle(),
		})
	}
	return out
}

// BucketCredentialsToProto returns the messages of what buckets are opened with.
func BucketCredentialsToProto(credentials []function.BucketCredentials) []*workerv1.BucketCredentials {
	var out []*workerv1.BucketCredentials
	for _, c := range credentials {
		out = append(out, &workerv1.BucketCredentials{
			AccessKey: c.AccessKey, SecretKey: c.SecretKey, SessionToken: c.SessionToken, Region: c.Region,
		})
	}
	return out
}
