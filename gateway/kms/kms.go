// Package kms has the master key of secrets in a key management service, which never gives it out. It is the adapter of
// gocloud.dev/secrets: which service it is, a URL says.
package kms

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
	"time"

	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/awskms"        // awskms://ID?region=...
	_ "gocloud.dev/secrets/azurekeyvault" // azurekeyvault://NAME.vault.azure.net/keys/KEY
	_ "gocloud.dev/secrets/gcpkms"        // gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K
	_ "gocloud.dev/secrets/hashivault"    // hashivault://KEY, of the transit engine; VAULT_SERVER_URL and VAULT_SERVER_TOKEN
	_ "gocloud.dev/secrets/localsecrets"  // base64key://KEY

	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Timeout bounds one request to a service.
const Timeout = 20 * time.Second

// Key is a master key in a service.
type Key struct {
	id, scheme string
	keeper     *secrets.Keeper
}

var _ secret.Key = (*Key)(nil)

// Open returns the key of a URL; no request is made yet. The URL may hold the key itself (base64key), so errors don't have it. Errors:
// fault.Invalid.
func Open(ctx context.Context, keyURL string) (*Key, error) {
	u, err := url.Parse(keyURL)
	if err != nil || u.Scheme == "" {
		return nil, fault.New(fault.Invalid, "key of secrets: no URL; want awskms://, gcpkms://, hashivault:// or base64key://")
	}
	if u.Scheme == "base64key" && strings.Trim(u.Host, "/") == "" {
		// The driver would make a key of its own, which nobody has after the process.
		return nil, fault.New(fault.Invalid, "key of secrets: base64key:// without a key; want 32 bytes in URL-safe base64")
	}
	keeper, err := secrets.OpenKeeper(ctx, keyURL)
	if err != nil {
		return nil, fault.New(fault.Invalid, "key of secrets at %s://: %s", u.Scheme, strings.ReplaceAll(err.Error(), keyURL, u.Scheme+"://..."))
	}
	sum := sha256.Sum256([]byte("skerry master key\x00" + keyURL))
	return &Key{id: u.Scheme + "-" + hex.EncodeToString(sum[:8]), scheme: u.Scheme, keeper: keeper}, nil
}

// Close gives the connection back.
func (k *Key) Close() error { return k.keeper.Close() }

// ID implements secret.Key.
func (k *Key) ID() string { return k.id }

// Seal implements secret.Key.
func (k *Key) Seal(ctx context.Context, plain []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	sealed, err := k.keeper.Encrypt(ctx, plain)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%s: cannot seal a data key: %w", k.scheme, err)
	}
	return sealed, nil
}

// Open implements secret.Key. That a service refuses may pass; that bytes were changed shows in what is under the data key.
func (k *Key) Open(ctx context.Context, sealed []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	plain, err := k.keeper.Decrypt(ctx, sealed)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%s: cannot open a data key: %w", k.scheme, err)
	}
	return plain, nil
}
