package secret

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync"

	"golang.org/x/crypto/nacl/secretbox"

	"github.com/skerry-dev/skerry/internal/fault"
)

const (
	keySize   = 32
	nonceSize = 24
	// maxOpened bounds the data keys that are kept open: a master key in a service costs a request each.
	maxOpened = 1000
)

// Key is a master key. Implementations are safe for concurrent use.
type Key interface {
	// ID tells it from other master keys, and nothing of it.
	ID() string
	// Seal encrypts a data key. Errors: fault.Unavailable.
	Seal(ctx context.Context, plain []byte) ([]byte, error)
	// Open decrypts what Seal returned. Errors: fault.Unavailable, fault.DataLoss.
	Open(ctx context.Context, sealed []byte) ([]byte, error)
}

// Sealed is a secret's content under a data key of its own, and that under a master key: changing the master key needs the data keys
// sealed again, not the contents.
type Sealed struct {
	KeyID        string // of the master key
	Key, Content []byte
}

// Sealer encrypts secrets under one master key, and decrypts those that are under that or others. It is safe for concurrent use.
type Sealer struct {
	current Key
	keys    map[string]Key

	mu     sync.Mutex
	opened map[string][keySize]byte // data keys by what they are sealed as
}

// NewSealer returns a Sealer that seals under current; what is sealed under one of the others, it opens.
func NewSealer(current Key, others ...Key) *Sealer {
	s := &Sealer{current: current, keys: map[string]Key{}, opened: map[string][keySize]byte{}}
	for _, k := range append(others, current) {
		s.keys[k.ID()] = k
	}
	return s
}

// Seal encrypts plain for the secret of the id; Open refuses it for another. Errors: fault.Unavailable.
func (s *Sealer) Seal(ctx context.Context, id string, plain []byte) (Sealed, error) {
	var dataKey [keySize]byte
	if _, err := rand.Read(dataKey[:]); err != nil {
		return Sealed{}, fmt.Errorf("secret %q: %w", id, err)
	}
	sealedKey, err := s.current.Seal(ctx, dataKey[:])
	if err != nil {
		return Sealed{}, fmt.Errorf("secret %q: %w", id, err)
	}
	bound := sha256.Sum256([]byte(id))
	content, err := box(append(bound[:], plain...), &dataKey)
	if err != nil {
		return Sealed{}, fmt.Errorf("secret %q: %w", id, err)
	}
	return Sealed{KeyID: s.current.ID(), Key: sealedKey, Content: content}, nil
}

// Open decrypts what Seal returned. Errors: fault.DataLoss where its master key is none of those there are, or bytes were changed;
// fault.Unavailable.
func (s *Sealer) Open(ctx context.Context, id string, sealed Sealed) ([]byte, error) {
	dataKey, err := s.dataKey(ctx, sealed)
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", id, err)
	}
	plain, ok := unbox(sealed.Content, &dataKey)
	if !ok || len(plain) < sha256.Size {
		return nil, fault.New(fault.DataLoss, "secret %q: its content was changed", id)
	}
	if bound := sha256.Sum256([]byte(id)); [sha256.Size]byte(plain[:sha256.Size]) != bound {
		return nil, fault.New(fault.DataLoss, "secret %q: its content is another secret's", id)
	}
	return plain[sha256.Size:], nil
}

// Reseal returns what Seal returned with its data key under the current master key. Errors: as Open.
func (s *Sealer) Reseal(ctx context.Context, sealed Sealed) (Sealed, error) {
	dataKey, err := s.dataKey(ctx, sealed)
	if err != nil {
		return Sealed{}, err
	}
	key, err := s.current.Seal(ctx, dataKey[:])
	return Sealed{KeyID: s.current.ID(), Key: key, Content: sealed.Content}, err
}

func (s *Sealer) dataKey(ctx context.Context, sealed Sealed) (dataKey [keySize]byte, err error) {
	name := sealed.KeyID + "\x00" + string(sealed.Key)
	s.mu.Lock()
	dataKey, ok := s.opened[name]
	s.mu.Unlock()
	if ok {
		return dataKey, nil
	}
	master, ok := s.keys[sealed.KeyID]
	if !ok {
		return dataKey, fault.New(fault.DataLoss, "is sealed under master key %s, which is not here; restore it from a backup, or name it by secrets_keys_before",
			sealed.KeyID)
	}
	plain, err := master.Open(ctx, sealed.Key)
	if err != nil {
		return dataKey, err
	}
	if len(plain) != keySize {
		return dataKey, fault.New(fault.DataLoss, "its data key has %d bytes, want %d", len(plain), keySize)
	}
	dataKey = [keySize]byte(plain)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.opened) >= maxOpened {
		clear(s.opened)
	}
	s.opened[name] = dataKey
	return dataKey, nil
}

func box(plain []byte, key *[keySize]byte) ([]byte, error) {
	var nonce [nonceSize]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, err
	}
	return secretbox.Seal(nonce[:], plain, &nonce, key), nil
}

func unbox(sealed []byte, key *[keySize]byte) ([]byte, bool) {
	if len(sealed) < nonceSize {
		return nil, false
	}
	return secretbox.Open(nil, sealed[nonceSize:], (*[nonceSize]byte)(sealed[:nonceSize]), key)
}
