package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/rpc"
	"github.com/skerry-dev/skerry/gateway/server"
	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	_ "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
)

// procedures are the paths of all RPCs of a package.
func procedures(pkg string) (paths []string) {
	protoregistry.GlobalFiles.RangeFilesByPackage(protoreflect.FullName(pkg), func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				paths = append(paths, "/"+string(s.FullName())+"/"+string(s.Methods().Get(j).Name()))
			}
		}
		return true
	})
	return paths
}

// answer is what is looked at of a response.
type answer struct {
	code          int
	status, proto string
}

func post(t *testing.T, c *http.Client, url, contentType string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Error(err)
	}
	return answer{res.StatusCode, res.Status, res.Proto}
}

func TestNothingAnswersWithoutAToken(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	public := procedures("skerry.v1")
	if len(public) < 20 {
		t.Fatalf("only %d procedures", len(public))
	}
	wrong := g.admin
	wrong.Secret = wrong.Secret[:len(wrong.Secret)-1] + "!"
	worker := g.Tokens().Ephemeral("w", identity.Worker).Encode()
	for _, c := range []struct {
		name, token string
		status      int
	}{
		{"none", "", 401}, {"wrong secret", wrong.Encode(), 401}, {"unknown", "tk-0000000000000000000000.x", 401},
		{"no secret", g.admin.ID, 401}, {"another kind", "ap-0000000000000000000000.x", 401}, {"worker's", worker, 403},
	} {
		client := g.client(t, c.token)
		for _, path := range public {
			if res := post(t, client, g.URL()+path, "application/proto"); res.code != c.status {
				t.Errorf("%s token: %s answers %s", c.name, path, res.status)
			}
		}
		if res := post(t, client, g.URL()+"/anything", "text/plain"); res.code != c.status {
			t.Errorf("%s token: another path answers %s", c.name, res.status)
		}
	}
	admin := g.client(t, g.admin.Encode())
	for _, path := range []string{
		"/skerry.worker.v1.BulkService/FetchTree", "/skerry.worker.v1/link", "/skerry.build.v1/link",
	} {
		if res := post(t, admin, g.URL()+path, "application/proto"); res.code != http.StatusForbidden {
			t.Errorf("an admin's token: %s answers %s", path, res.status)
		}
	}
	if strings.Contains(g.log.String(), g.admin.Secret) {
		t.Error("the secret is in the log")
	}
}

// TestContainersHaveNoRightsOfTheirWorkers plays a worker that passes on whatever code in a container sends.
func TestContainersHaveNoRightsOfTheirWorkers(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	client := g.client(t, g.Tokens().Ephemeral("w", identity.Worker).Encode())
	for _, path := range append(procedures("skerry.worker.v1"), "/skerry.worker.v1/link", "/skerry.build.v1/link") {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/connect+proto")
		r.Header.Set(rpc.ContainerHeader, "ta-0123456789abcdefghijkl")
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusForbidden && !bytes.Contains(body, []byte(`"permission_denied"`)) {
			t.Errorf("%s answers %s: %s", path, res.Status, body)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	who := call(t, g.token.GetTokenInfo, &skerryv1.GetTokenInfoRequest{})
	if who.GetTokenId() != g.admin.ID || who.GetName() != "tester" || who.GetServerVersion() != "test" {
		t.Errorf("GetTokenInfo = %v", who)
	}
	made := call(t, g.token.CreateToken, &skerryv1.CreateTokenRequest{Name: "alice"})
	g.connect(t, made.GetTokenId()+"."+made.GetTokenSecret())
	if who := call(t, g.token.GetTokenInfo, &skerryv1.GetTokenInfoRequest{}); who.GetName() != "alice" {
		t.Errorf("GetTokenInfo = %v", who)
	}
	wantCode(t, fails(t, g.token.CreateToken, &skerryv1.CreateTokenRequest{}), connect.CodeInvalidArgument, "token name")
	offline, err := server.CreateToken(t.Context(), server.Database(g.dir, ""), server.NewToken{Name: "bob", Role: identity.Admin}) // while the gateway runs
	if err != nil {
		t.Fatal(err)
	}
	g.connect(t, offline.Encode())
	if who := call(t, g.token.GetTokenInfo, &skerryv1.GetTokenInfoRequest{}); who.GetName() != "bob" {
		t.Errorf("GetTokenInfo = %v", who)
	}
}

func TestBothProtocolsOnOnePort(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for name, set := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2.0": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		var p http.Protocols
		set(&p)
		transport := &http.Transport{Protocols: &p}
		defer transport.CloseIdleConnections()
		res := post(t, &http.Client{Transport: bearer{g.admin.Encode(), transport}}, g.URL()+"/skerry.v1.TokenService/GetTokenInfo", "application/proto")
		if res.code != http.StatusOK || res.proto != name {
			t.Errorf("%s: %s %s", name, res.proto, res.status)
		}
	}
}

// certificate makes a self-signed one for a name that nobody here dials.
func certificate(t *testing.T) (certPath, keyPath string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "skerry.example"}, DNSNames: []string{"skerry.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certPath, keyPath = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		certPath: {Type: "CERTIFICATE", Bytes: der}, keyPath: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certPath, keyPath
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	g := start(t, func(c *server.Config) { c.TLSCert, c.TLSKey, c.Listen = cert, key, "0.0.0.0:0" })
	if !strings.HasPrefix(g.URL(), "https://127.0.0.1:") {
		t.Errorf("URL = %s", g.URL())
	}
	g.join(t, g.instantly(t)) // the link's upgrade, over TLS
	if _, err := g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim("3.11")}); err != nil {
		t.Error(err)
	}
	// A client in clear gets nothing, one that trusts the host's roots refuses.
	res, err := http.Post("http://"+g.Addr().String()+"/skerry.v1.TokenService/GetTokenInfo", "application/proto", nil)
	if err == nil {
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK {
			t.Error("answered in clear")
		}
	}
	if res, err := http.Post(g.URL()+"/skerry.v1.TokenService/GetTokenInfo", "application/proto", nil); err == nil {
		_ = res.Body.Close()
		t.Error("a certificate that nobody signed is trusted")
	}
}

func TestRefusedAddresses(t *testing.T) {
	t.Parallel()
	blobs, err := blob.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer blobs.Close() // nothing was written
	try := func(c server.Config) error {
		c.Dir = t.TempDir()
		s, err := server.New(context.Background(), c, blobs, slog.New(slog.DiscardHandler))
		if err == nil {
			s.Close()
		}
		return err
	}
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:0", "example.com:0"} {
		if err := try(server.Config{Listen: address}); !errors.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "--tls-cert") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"localhost:0", "127.0.0.2:0"} {
		if err := try(server.Config{Listen: address}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := try(server.Config{Listen: "0.0.0.0:0", Insecure: true}); err != nil {
		t.Errorf("insecure: %v", err)
	}
	if err := try(server.Config{TLSCert: "x"}); !errors.Is(err, fault.Invalid) {
		t.Errorf("a certificate without a key: %v", err)
	}
	g := start(t, nil)
	if err := try(server.Config{Listen: g.Addr().String()}); !errors.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("a port in use: %v", err)
	}
}
