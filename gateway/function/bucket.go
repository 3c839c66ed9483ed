package function

import (
	"cmp"
	"net/url"
	"regexp"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Bounds of buckets.
const (
	maxBuckets  = 20 // of a container: each is a process of its worker
	maxEndpoint = 512
	maxPrefix   = 900
)

// bucketName is what the stores let a bucket be called, older ones included.
var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$`)

// BucketMount puts a bucket, or what begins with Prefix in it, at a path of the container; see skerry.v1.BucketMount.
type BucketMount struct {
	Path          string `json:"path"`
	Bucket        string `json:"bucket"`
	Endpoint      string `json:"endpoint,omitempty"`
	Prefix        string `json:"prefix,omitempty"`
	SecretID      string `json:"secret_id,omitempty"`
	ReadOnly      bool   `json:"read_only,omitempty"`
	RequesterPays bool   `json:"requester_pays,omitempty"`
	PathStyle     bool   `json:"path_style,omitempty"`
}

// CheckBuckets returns a fault.Invalid for buckets that no container with these volumes can have.
func CheckBuckets(mounts []BucketMount, volumes []VolumeMount) error {
	if len(mounts) > maxBuckets {
		return fault.New(fault.Invalid, "%d buckets, at most %d", len(mounts), maxBuckets)
	}
	var taken []string
	for _, v := range volumes {
		taken = append(taken, v.Path)
	}
	for i := range mounts {
		m := &mounts[i]
		if err := m.check(); err != nil {
			return err
		}
		for _, o := range taken {
			if o == m.Path || strings.HasPrefix(m.Path, o+"/") || strings.HasPrefix(o, m.Path+"/") {
				return fault.New(fault.Invalid, "bucket %q at %.200q: there is a mount at %.200q, and one would be in the other", m.Bucket, m.Path, o)
			}
		}
		taken = append(taken, m.Path)
	}
	return nil
}

func (m *BucketMount) check() error {
	if !bucketName.MatchString(m.Bucket) || strings.Contains(m.Bucket, "..") {
		return fault.New(fault.Invalid, "bucket %.80q: want 3 to 255 of [A-Za-z0-9._-]", m.Bucket)
	}
	if err := CheckVolumePath(m.Path); err != nil {
		return fault.New(fault.Invalid, "bucket %q: %w", m.Bucket, err)
	}
	if err := checkEndpoint(m.Endpoint); err != nil {
		return fault.New(fault.Invalid, "bucket %q: %w", m.Bucket, err)
	}
	if err := checkPrefix(m.Prefix); err != nil {
		return fault.New(fault.Invalid, "bucket %q: %w", m.Bucket, err)
	}
	if m.RequesterPays && m.SecretID == "" {
		return fault.New(fault.Invalid, "bucket %q: requester_pays needs a secret: whose it is pays", m.Bucket)
	}
	if m.SecretID != "" {
		return ident.Check(ident.Secret, m.SecretID)
	}
	return nil
}

func checkEndpoint(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || len(text) > maxEndpoint || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return fault.New(fault.Invalid, `endpoint %.200q: want a URL such as "https://storage.example.com"`, text)
	}
	return nil
}

func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if len(prefix) > maxPrefix || !strings.HasSuffix(prefix, "/") || strings.ContainsAny(prefix, "\x00\r\n") {
		return fault.New(fault.Invalid, `key prefix %.100q: want at most %d bytes, with a "/" at the end`, prefix, maxPrefix)
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(prefix, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			return fault.New(fault.Invalid, `key prefix %.100q: want no empty part, no "." and no ".." in it`, prefix)
		}
	}
	return nil
}

// BucketSecrets are the secrets that buckets are opened with.
func BucketSecrets(mounts []BucketMount) (ids []string) {
	for _, m := range mounts {
		if m.SecretID != "" {
			ids = append(ids, m.SecretID)
		}
	}
	return ids
}

// BucketCredentials is what a bucket is opened with; not for logs.
type BucketCredentials struct{ AccessKey, SecretKey, SessionToken, Region string }

// Credentials takes what opens a bucket out of its secret's variables. Errors: fault.Invalid where there is nothing that could.
func (m *BucketMount) Credentials(variables map[string]string) (BucketCredentials, error) {
	c := BucketCredentials{
		AccessKey: variables["AWS_ACCESS_KEY_ID"], SecretKey: variables["AWS_SECRET_ACCESS_KEY"], SessionToken: variables["AWS_SESSION_TOKEN"],
		Region: cmp.Or(variables["AWS_REGION"], variables["AWS_DEFAULT_REGION"]),
	}
	if c.AccessKey == "" && c.SecretKey == "" {
		c.AccessKey, c.SecretKey = variables["GOOGLE_ACCESS_KEY_ID"], variables["GOOGLE_ACCESS_KEY_SECRET"]
	}
	if c.AccessKey == "" || c.SecretKey == "" {
		return BucketCredentials{}, fault.New(fault.Invalid,
			"bucket %q: its secret has no AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, nor GOOGLE_ACCESS_KEY_ID with GOOGLE_ACCESS_KEY_SECRET", m.Bucket)
	}
	return c, nil
}

// OpenBuckets opens the secrets of buckets with open, which returns a secret's variables. The result has the order of the mounts. Errors: open's,
// fault.Invalid.
func OpenBuckets(mounts []BucketMount, open func(secretID string) (map[string]string, error)) ([]BucketCredentials, error) {
	var out []BucketCredentials
	for i := range mounts {
		m := &mounts[i]
		var c BucketCredentials
		if m.SecretID != "" {
			variables, err := open(m.SecretID)
			if err != nil {
				return nil, err
			}
			if c, err = m.Credentials(variables); err != nil {
				return nil, err
			}
		}
		out = append(out, c)
	}
	return out, nil
}
