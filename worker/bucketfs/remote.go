package bucketfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	rclones3 "github.com/rclone/rclone/backend/s3"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Bounds of requests.
const (
	connectTimeout = 5 * time.Second
	idleTimeout    = 30 * time.Second // of a connection that carries nothing
	checkTimeout   = 30 * time.Second
	attempts       = 3 // of a request
	partBytes      = 8 << 20
	partsAtOnce    = 4
	defaultRegion  = "us-east-1"
)

// configure sets what rclone keeps for the whole process.
func configure(ctx context.Context) {
	c := fs.GetConfig(ctx)
	c.UserAgent = "skerry"
	c.ConnectTimeout, c.Timeout = fs.Duration(connectTimeout), fs.Duration(idleTimeout)
	c.LowLevelRetries = attempts
	c.UseServerModTime = true // else each file costs a request
	c.BufferSize = fs.SizeSuffix(1 << 20)
	c.LogLevel = fs.LogLevelNotice
}

// resolve has names resolved by one server.
func resolve(address string) {
	if address == "" {
		return
	}
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, net.JoinHostPort(address, "53"))
	}}
}

// find asks for the bucket with its credentials, so that what is wrong with them is said now and not by the first file. It also finds out the
// region where nobody said it. Errors: fault.NotFound, fault.Denied, fault.Invalid, fault.Unavailable.
func (s *settings) find(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if s.Region == "" && s.provider() == "AWS" {
		region, err := manager.GetBucketRegion(ctx, s.client(defaultRegion), s.Bucket)
		if err != nil && !errors.As(err, new(manager.BucketNotFound)) {
			return s.explain(err)
		}
		s.Region = region // none: the request below says why
	}
	payer := types.RequestPayer("")
	if s.RequesterPays {
		payer = types.RequestPayerRequester
	}
	_, err := s.client(cmp.Or(s.Region, defaultRegion)).ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket: &s.Bucket, Prefix: &s.Prefix, MaxKeys: aws.Int32(1), RequestPayer: payer,
	})
	return s.explain(err)
}

// client is a client for a few requests of our own.
func (s *settings) client(region string) *s3.Client {
	o := s3.Options{Region: region, UsePathStyle: s.pathStyle(), RetryMaxAttempts: attempts, Credentials: aws.AnonymousCredentials{}}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the standard library's
	transport.DialContext = (&net.Dialer{Timeout: connectTimeout}).DialContext
	transport.Proxy, transport.ResponseHeaderTimeout, transport.DisableKeepAlives = nil, idleTimeout, true
	o.HTTPClient = &http.Client{Transport: transport}
	if s.AccessKey != "" {
		o.Credentials = credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, s.SessionToken)
	}
	if s.Endpoint != "" {
		o.BaseEndpoint = &s.Endpoint
	}
	return s3.New(o)
}

// explain says in our words what was wrong with a first request.
func (s *settings) explain(err error) error {
	if err == nil {
		return nil
	}
	var known smithy.APIError
	if !errors.As(err, &known) {
		return fault.New(fault.Unavailable, "its server can't be reached: %w", shortest(err))
	}
	switch known.ErrorCode() {
	case "NoSuchBucket", "NotFound":
		return fault.New(fault.NotFound, "there is no such bucket")
	case "InvalidAccessKeyId", "InvalidToken", "ExpiredToken", "XAdminUserNotFound":
		return fault.New(fault.Denied, "the server does not know the access key, or it has expired (%s)", known.ErrorCode())
	case "SignatureDoesNotMatch":
		return fault.New(fault.Denied, "the secret key is not that of the access key (SignatureDoesNotMatch)")
	case "AccessDenied", "Forbidden", "AllAccessDisabled":
		if s.AccessKey == "" {
			return fault.New(fault.Denied, "the bucket is not open to everybody; give it a secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
		}
		return fault.New(fault.Denied, "the access key may not list it (%s)", known.ErrorCode())
	}
	kind := fault.Unavailable
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && (answer.HTTPStatusCode() == http.StatusForbidden || answer.HTTPStatusCode() == http.StatusUnauthorized) {
		kind = fault.Denied
	} else if answer != nil && answer.HTTPStatusCode() == http.StatusNotFound {
		kind = fault.NotFound
	}
	return fault.New(kind, "its server refuses: %.100s: %.200s", known.ErrorCode(), known.ErrorMessage())
}

// shortest is the innermost error that says what went wrong: those around it repeat the request.
func shortest(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op
	}
	var name *net.DNSError
	if errors.As(err, &name) {
		return name
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// remote opens the bucket below its prefix.
func (s *settings) remote(ctx context.Context) (fs.Fs, error) {
	options := configmap.Simple{
		"provider": s.provider(), "endpoint": s.Endpoint, "region": cmp.Or(s.Region, defaultRegion),
		"access_key_id": s.AccessKey, "secret_access_key": s.SecretKey, "session_token": s.SessionToken,
		"force_path_style": strconv.FormatBool(s.pathStyle()), "requester_pays": strconv.FormatBool(s.RequesterPays),
		"no_check_bucket": "true", // else writing would try to make it
		"chunk_size":      strconv.Itoa(partBytes) + "B", "upload_cutoff": strconv.Itoa(partBytes*partsAtOnce) + "B",
		"upload_concurrency": strconv.Itoa(partsAtOnce),
	}
	for _, o := range registered().Options {
		if _, set := options.Get(o.Name); !set {
			options.Set(o.Name, o.String())
		}
	}
	// With the "/" at its end, nothing is looked for under the prefix's own name, whose place would be outside of it.
	f, err := rclones3.NewFs(ctx, "bucket", s.Bucket+"/"+s.Prefix, options)
	if err != nil {
		return nil, fmt.Errorf("bucket %q: %w", s.Bucket, err)
	}
	return f, nil
}

func registered() *fs.RegInfo {
	info, err := fs.Find("s3")
	if err != nil {
		panic(err) // the import registers it
	}
	return info
}
