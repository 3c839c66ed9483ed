package login

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/fault"
)

const secretKey = "very-secret-key"

// amazon answers as ECR and STS do.
func amazon(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		authorization := r.Header.Get("Authorization")
		if strings.Contains(authorization+string(body), secretKey) {
			t.Error("the key itself was sent")
		}
		switch {
		case strings.Contains(string(body), "Action=AssumeRole"):
			w.Header().Set("Content-Type", "text/xml")
			fmt.Fprint(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>other</SecretAccessKey><SessionToken>session</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
		case !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetAuthorizationToken"):
			t.Errorf("target %q", r.Header.Get("X-Amz-Target"))
		case strings.Contains(authorization, "Credential=GOOD/"), strings.Contains(authorization, "Credential=ASSUMED/"):
			user := "AWS"
			if r.Header.Get("X-Amz-Security-Token") == "session" {
				user = "AWS-role"
			}
			fmt.Fprintf(w, `{"authorizationData":[{"authorizationToken":"%s"}]}`, base64.StdEncoding.EncodeToString([]byte(user+":pass:word")))
		default:
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."}`)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestCredentials(t *testing.T) {
	s := Source{AWSEndpoint: amazon(t).URL}
	keys := func(id, role string) map[string]string {
		return map[string]string{"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secretKey, "AWS_REGION": "eu-west-1", "AWS_ROLE_ARN": role}
	}
	account := `{"type": "service_account", "private_key": "` + secretKey + `"}`
	for name, c := range map[string]struct {
		kind      recipe.Credentials
		variables map[string]string
		want      Credentials
		fails     *fault.Kind
		says      string
	}{
		"none":        {kind: recipe.Anonymous},
		"static":      {recipe.Static, map[string]string{"REGISTRY_USERNAME": "u", "REGISTRY_PASSWORD": "p"}, Credentials{"u", "p"}, nil, ""},
		"static half": {recipe.Static, map[string]string{"REGISTRY_USERNAME": "u"}, Credentials{}, fault.Invalid, "REGISTRY_PASSWORD"},
		"aws":         {recipe.AWS, keys("GOOD", ""), Credentials{"AWS", "pass:word"}, nil, ""},
		"aws role":    {recipe.AWS, keys("GOOD", "arn:aws:iam::1:role/r"), Credentials{"AWS-role", "pass:word"}, nil, ""},
		"aws wrong":   {recipe.AWS, keys("BAD", ""), Credentials{}, fault.Precondition, "UnrecognizedClientException"},
		"aws lacking": {recipe.AWS, nil, Credentials{}, fault.Invalid, "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION"},
		"gcp":         {recipe.GCP, map[string]string{"SERVICE_ACCOUNT_JSON": account}, Credentials{gcpUser, account}, nil, ""},
		"gcp wrong":   {recipe.GCP, map[string]string{"SERVICE_ACCOUNT_JSON": secretKey}, Credentials{}, fault.Invalid, "JSON key"},
		"unknown":     {kind: 9, fails: fault.Invalid, says: "kind 9"},
	} {
		got, err := s.Credentials(t.Context(), c.kind, c.variables)
		if c.fails != nil {
			if !errors.Is(err, c.fails) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), secretKey) {
				t.Errorf("%s: got %v", name, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", Credentials{"u", "secret"}, Credentials{"u", "secret"}, Credentials{"u", "secret"}); strings.Contains(text, "secret") {
		t.Errorf("printed: %s", text)
	}
}
