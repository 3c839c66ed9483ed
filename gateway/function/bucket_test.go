package function_test

import (
	"errors"
	"testing"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

func TestBucketsThatNoContainerCanHave(t *testing.T) {
	good := function.BucketMount{Path: "/data", Bucket: "my-bucket", Endpoint: "https://storage.example.com", Prefix: "a/b/", SecretID: ident.New(ident.Secret)}
	volumes := []function.VolumeMount{{Path: "/volume", VolumeID: ident.New(ident.Volume)}}
	if err := function.CheckBuckets([]function.BucketMount{good, {Path: "/other", Bucket: "open"}}, volumes); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*function.BucketMount){
		"root":           func(m *function.BucketMount) { m.Path = "/" },
		"home":           func(m *function.BucketMount) { m.Path = "/root" },
		"reserved":       func(m *function.BucketMount) { m.Path = "/proc/x" },
		"in a volume":    func(m *function.BucketMount) { m.Path = "/volume/x" },
		"no bucket":      func(m *function.BucketMount) { m.Bucket = "" },
		"path in bucket": func(m *function.BucketMount) { m.Bucket = "bucket/x" },
		"scheme":         func(m *function.BucketMount) { m.Endpoint = "file:///etc" },
		"query":          func(m *function.BucketMount) { m.Endpoint = "https://a.example/?x=y" },
		"user":           func(m *function.BucketMount) { m.Endpoint = "https://a:b@c.example" },
		"no slash":       func(m *function.BucketMount) { m.Prefix = "a" },
		"upwards":        func(m *function.BucketMount) { m.Prefix = "a/../b/" },
		"empty part":     func(m *function.BucketMount) { m.Prefix = "/a/" },
		"no secret":      func(m *function.BucketMount) { m.RequesterPays, m.SecretID = true, "" },
		"secret's id":    func(m *function.BucketMount) { m.SecretID = "st-1" },
	} {
		m := good
		change(&m)
		if err := function.CheckBuckets([]function.BucketMount{m}, volumes); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := function.CheckBuckets([]function.BucketMount{good, good}, nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("twice: %v", err)
	}
}

func TestBucketCredentials(t *testing.T) {
	mounts := []function.BucketMount{{Bucket: "open"}, {Bucket: "aws", SecretID: "a"}, {Bucket: "google", SecretID: "g"}}
	secrets := map[string]map[string]string{
		"a": {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_SESSION_TOKEN": "token", "AWS_REGION": "region", "OTHER": "x"},
		"g": {"GOOGLE_ACCESS_KEY_ID": "gid", "GOOGLE_ACCESS_KEY_SECRET": "gkey"},
	}
	open := func(id string) (map[string]string, error) { return secrets[id], nil }
	got, err := function.OpenBuckets(mounts, open)
	if err != nil || len(got) != 3 || got[0] != (function.BucketCredentials{}) ||
		got[1] != (function.BucketCredentials{AccessKey: "id", SecretKey: "key", SessionToken: "token", Region: "region"}) ||
		got[2] != (function.BucketCredentials{AccessKey: "gid", SecretKey: "gkey"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := function.OpenBuckets([]function.BucketMount{{Bucket: "b", SecretID: "none"}}, open); !errors.Is(err, fault.Invalid) {
		t.Errorf("a secret without keys: %v", err)
	}
}
