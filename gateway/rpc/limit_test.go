package rpc_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/skerry-dev/skerry/gateway/environment"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
)

// twoEnvironments is a store of "staging", which the limited token opens, and "other".
type twoEnvironments struct{ environment.Store }

func (twoEnvironments) Environments(context.Context) ([]environment.Environment, error) {
	return []environment.Environment{{ID: "en-staging", Name: "staging"}, {ID: "en-other", Name: "other"}}, nil
}

// limitedTokens is a store of one token.
type limitedTokens struct {
	identity.Store
	record *identity.Record
}

func (l *limitedTokens) CreateToken(_ context.Context, r identity.Record) error {
	l.record = &r
	return nil
}

func (l *limitedTokens) Token(context.Context, string) (*identity.Record, error) {
	return l.record, nil
}

// EnvironmentOf has everything that there is in "other", but for what the token of the tests may see.
func (w *world) EnvironmentOf(_ context.Context, id string) (string, bool, error) {
	switch {
	case id == w.visible:
		return "en-staging", true, nil
	case len(id) == len(w.own):
		return "en-other", true, nil
	}
	return "", false, nil
}

// placeless are the requests that say nothing of an environment, each with what keeps limited tokens within theirs.
var placeless = map[string]string{
	"TokenService/GetTokenInfo":               "describes the token itself",
	"TokenService/CreateToken":                "makes none that opens more than itself: TestLimitedTokensMakeNoWiderOnes",
	"EnvironmentService/ListEnvironments":     "lists those that the token opens",
	"EnvironmentService/GetEnvironment":       "finds those that the token opens",
	"BlobService/Upload":                      "blobs are found by what is in them",
	"BlobService/Download":                    "who knows the digest of a blob has had it",
	"MountService/CreateMount":                "trees are found by what is in them",
	"ImageService/GetImage":                   "images are found by what is in them",
	"ImageService/GetImageLog":                "as the images",
	"ImageService/GetImageByName":             "public names are for all: TestPublicImageNames",
	"ContainerService/ListContainers":         "lists those of the environments that the token opens",
	"ContainerService/Exec":                   "a stream, whose frames are looked at one by one: TestLimitsOfStreams",
	"CallService/Session":                     "as the stream before",
	"SandboxWatchService/StreamSandboxEvents": "of the environment that the token means",
}

// notServed is what a procedure answers of which there is only the definition.
const notServed = "404 Not Found"

// insideSandboxes are services that sandboxes serve, which are found by the sandbox's id in the path.
var insideSandboxes = map[string]bool{"FilesystemService": true, "InterpreterService": true, "ProcessService": true}

// deep returns an instance of a message as JSON in which everything that can be named is in another environment.
func deep(m protoreflect.MessageDescriptor, id string, met map[protoreflect.FullName]bool) (text string, found bool) {
	if met[m.FullName()] {
		return "{}", false
	}
	met[m.FullName()] = true
	defer delete(met, m.FullName())
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		name := string(f.Name())
		var value string
		switch {
		case f.IsMap() || f.ContainingOneof() != nil && !f.HasOptionalKeyword():
			continue
		case f.Message() != nil:
			inner, ok := deep(f.Message(), id, met)
			if !ok {
				continue
			}
			value = inner
		case f.Kind() != protoreflect.StringKind:
			continue
		case name == "environment":
			value = `"other"`
		case name == "app" || name == "id" || strings.HasSuffix(name, "_id") || strings.HasSuffix(name, "_ids"):
			value = `"` + id + `"`
		default:
			continue
		}
		if f.IsList() {
			value = "[" + value + "]"
		}
		return `{"` + f.JSONName() + `":` + value + `}`, true
	}
	return "{}", false
}

func newLimited(t *testing.T) (*world, identity.Credential) {
	t.Helper()
	w := newWorld(t)
	w.visible = ident.New(ident.App)
	w.tokens = &limitedTokens{}
	tokens := identity.New(w.tokens)
	c, err := tokens.Create(t.Context(), "ci", identity.Admin, "en-staging")
	if err != nil {
		t.Fatal(err)
	}
	w.admin = tokens.Ephemeral("me", identity.Admin)
	w.serve(t, tokens)
	return w, c
}

// TestLimitedTokens goes through all procedures there are: what names another environment, or a thing in one, is refused before it comes to
// its service; and what is in the token's own environment does come there.
func TestLimitedTokens(t *testing.T) {
	w, token := newLimited(t)
	met := map[string]bool{}
	protoregistry.GlobalFiles.RangeFilesByPackage("skerry.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				method := s.Methods().Get(j)
				name := string(s.Name()) + "/" + string(method.Name())
				if insideSandboxes[string(s.Name())] {
					continue
				}
				met[name] = true
				body, found := deep(method.Input(), ident.New(ident.App), map[protoreflect.FullName]bool{})
				if placeless[name] != "" {
					continue
				}
				if !found && method.Name() != "CreateEnvironment" && method.Name() != "UpdateEnvironment" && method.Name() != "DeleteEnvironment" &&
					method.Name() != "ListImages" {
					t.Errorf("%s: nothing in its request says where; say in placeless what keeps limited tokens within their environments", name)
				}
				ask := w.post
				if method.IsStreamingServer() || method.IsStreamingClient() {
					ask = w.stream
				}
				code := ask(t, "/skerry.v1."+name, token, "", body)
				if method.IsStreamingClient() && code == "unimplemented" {
					continue // nothing was read of the stream; what is, is looked at: TestLimitsOfStreams
				}
				if code != "permission_denied" && code != "not_found" && code != notServed {
					t.Errorf("%s with %s answers %q", name, body, code)
				}
			}
		}
		return true
	})
	for name := range placeless {
		if !met[name] {
			t.Errorf("there is no %s", name)
		}
	}
	for _, body := range []string{`{"environment":"staging"}`, `{}`} {
		if code := w.post(t, skerryv1connect.AppServiceListAppsProcedure, token, "", body); code != "unimplemented" {
			t.Errorf("the apps of its own environment: %q", code)
		}
	}
	if code := w.post(t, skerryv1connect.AppServiceGetAppProcedure, token, "", `{"app":"`+w.visible+`"}`); code != "unimplemented" {
		t.Errorf("an app of its own environment: %q", code)
	}
	// A token that opens all is not limited.
	if code := w.post(t, skerryv1connect.AppServiceListAppsProcedure, w.admin, "", `{"environment":"other"}`); code == "" {
		t.Errorf("the admin's: %q", code)
	}
}

// TestLimitsOfStreams: each frame is looked at.
func TestLimitsOfStreams(t *testing.T) {
	w, token := newLimited(t)
	body := `{"submits":[{"functionId":"` + ident.New(ident.Function) + `"}]}`
	if code := w.stream(t, skerryv1connect.CallServiceSessionProcedure, token, "", body); code != "not_found" {
		t.Errorf("a limited token: %q", code)
	}
	if code := w.stream(t, skerryv1connect.CallServiceSessionProcedure, w.admin, "", body); code != "unimplemented" {
		t.Errorf("a token that opens all: %q", code)
	}
}

// TestLimitedTokensMakeNoWiderOnes, and see no environment but theirs.
func TestLimitedTokensMakeNoWiderOnes(t *testing.T) {
	w, token := newLimited(t)
	for body, code := range map[string]string{
		`{"name":"a"}`: "",
		`{"name":"a","environments":["staging"]}`: "",
		`{"name":"a","environments":["other"]}`:   "permission_denied",
		`{"name":"a","environments":["main"]}`:    "permission_denied",
		`{"name":"a","environments":["nowhere"]}`: "permission_denied",
	} {
		if got := w.post(t, skerryv1connect.TokenServiceCreateTokenProcedure, token, "", body); got != code {
			t.Errorf("%s: %q, want %q", body, got, code)
		}
		if r := w.tokens.record; code == "" && (r.Name != "a" || len(r.Environments) != 1 || r.Environments[0] != "en-staging") {
			t.Errorf("%s made %+v", body, r)
		}
	}
	for body, code := range map[string]string{`{}`: "", `{"name":"staging"}`: "", `{"name":"other"}`: "permission_denied", `{"name":"nowhere"}`: "permission_denied"} {
		if got := w.post(t, skerryv1connect.EnvironmentServiceGetEnvironmentProcedure, token, "", body); got != code {
			t.Errorf("get %s: %q, want %q", body, got, code)
		}
	}
}
