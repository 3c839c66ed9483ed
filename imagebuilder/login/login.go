// Package login turns the secret of a registry base into a user name and a password.
package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Credentials is what a registry is logged in to with. The zero value is no login.
type Credentials struct{ User, Password string }

// String hides the password from whoever prints one.
func (c Credentials) String() string { return fmt.Sprintf("login of %q", c.User) }

// GoString hides the password too.
func (c Credentials) GoString() string { return c.String() }

// Source makes credentials. The zero value is ready.
type Source struct {
	// AWSEndpoint is where AWS's services are; empty: at AWS.
	AWSEndpoint string
}

// gcpUser is the user name with which Google's registries take a service account's key as the password.
const gcpUser = "_json_key"

// Credentials returns those of a kind from the variables of a secret. Errors: fault.Invalid that names what the secret lacks, and never
// what it holds; fault.Precondition where AWS refuses its keys; fault.Unavailable where AWS can't be reached.
func (s Source) Credentials(ctx context.Context, kind recipe.Credentials, variables map[string]string) (Credentials, error) {
	switch kind {
	case recipe.Anonymous:
		return Credentials{}, nil
	case recipe.Static:
		err := need(variables, "REGISTRY_USERNAME", "REGISTRY_PASSWORD")
		return Credentials{User: variables["REGISTRY_USERNAME"], Password: variables["REGISTRY_PASSWORD"]}, err
	case recipe.AWS:
		return s.aws(ctx, variables)
	case recipe.GCP:
		return gcp(variables)
	}
	return Credentials{}, fault.New(fault.Invalid, "registry credentials of kind %d: are not known; update the builder", kind)
}

func need(variables map[string]string, names ...string) error {
	var missing []string
	for _, n := range names {
		if variables[n] == "" {
			missing = append(missing, n)
		}
	}
	if len(missing) > 0 {
		return fault.New(fault.Invalid, "registry secret: has no %s; make it with these variables", strings.Join(missing, ", "))
	}
	return nil
}

func gcp(variables map[string]string) (Credentials, error) {
	const name = "SERVICE_ACCOUNT_JSON"
	if err := need(variables, name); err != nil {
		return Credentials{}, err
	}
	var key struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal([]byte(variables[name]), &key); err != nil || key.Type != "service_account" {
		// What the decoder says may quote the key.
		return Credentials{}, fault.New(fault.Invalid, "registry secret: its %s is not the JSON key of a service account", name)
	}
	return Credentials{User: gcpUser, Password: variables[name]}, nil
}

// aws asks for a password, as the role where one is named.
func (s Source) aws(ctx context.Context, v map[string]string) (Credentials, error) {
	if err := need(v, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"); err != nil {
		return Credentials{}, err
	}
	config := aws.Config{
		Region:      v["AWS_REGION"],
		Credentials: credentials.NewStaticCredentialsProvider(v["AWS_ACCESS_KEY_ID"], v["AWS_SECRET_ACCESS_KEY"], v["AWS_SESSION_TOKEN"]),
	}
	if s.AWSEndpoint != "" {
		config.BaseEndpoint = &s.AWSEndpoint
	}
	if role := v["AWS_ROLE_ARN"]; role != "" {
		config.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(config), role,
			func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "skerry" }))
	}
	out, err := ecr.NewFromConfig(config).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return Credentials{}, awsError(err)
	}
	if len(out.AuthorizationData) == 0 {
		return Credentials{}, fault.New(fault.Unavailable, "AWS ECR: answered without a login")
	}
	token, err := base64.StdEncoding.DecodeString(aws.ToString(out.AuthorizationData[0].AuthorizationToken))
	user, password, ok := strings.Cut(string(token), ":")
	if err != nil || !ok {
		return Credentials{}, fault.New(fault.Unavailable, "AWS ECR: answered with a login that can't be read")
	}
	return Credentials{User: user, Password: password}, nil
}

// awsError says what AWS answered. Its answers name the key's id at most.
func awsError(err error) error {
	var refusal smithy.APIError
	if errors.As(err, &refusal) && refusal.ErrorFault() != smithy.FaultServer {
		return fault.New(fault.Precondition, "AWS refuses the registry secret's keys: %s: %s", refusal.ErrorCode(), refusal.ErrorMessage())
	}
	return fault.New(fault.Unavailable, "AWS ECR: %w", err)
}
