// Package ident makes and checks identifiers and names.
package ident

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"regexp"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Kind is the prefix that says what an identifier names.
type Kind string

// The kinds of things with identifiers.
const (
	App       Kind = "ap"
	Function  Kind = "fu"
	Call      Kind = "fc"
	Container Kind = "ta"
	Image     Kind = "im"
	Secret    Kind = "st"
	Token     Kind = "tk"
	Worker    Kind = "wk"
	Builder   Kind = "bd"
	Sandbox   Kind = "sb"
	Sidecar   Kind = "sc"
	Snapshot  Kind = "sn"
	Box       Kind = "bx"
	Bucket    Kind = "bk" // a bucket that is mounted on a worker
	BuildStep Kind = "bs" // a run of a step of an image build that has volumes

	Environment Kind = "en"
	Volume      Kind = "vo"
	Dict        Kind = "di"
	Queue       Kind = "qu"
)

// length is the number of characters after the prefix: 62^22 is a little over 2^130.
const length = 22

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// New returns a fresh identifier of the kind, such as "fu-" and 22 characters of [0-9A-Za-z].
func New(k Kind) string { return string(k) + "-" + Random(length) }

// Random returns n random characters of [0-9A-Za-z] from the system's secure source.
func Random(n int) string {
	b := make([]byte, n)
	top := big.NewInt(int64(len(alphabet)))
	for i := range b {
		// rand.Int over rand.Reader does not fail on the systems we run on; it panics if the kernel has no entropy source.
		j, err := rand.Int(rand.Reader, top)
		if err != nil {
			panic(err)
		}
		b[i] = alphabet[j.Int64()]
	}
	return string(b)
}

// Derive returns the identifier of the kind that belongs to content: the same for the same content.
func Derive(k Kind, content []byte) string {
	sum := sha256.Sum256(content)
	n := new(big.Int).SetBytes(sum[:])
	base, digit := big.NewInt(int64(len(alphabet))), new(big.Int)
	b := make([]byte, length)
	for i := range b {
		n.DivMod(n, base, digit)
		b[i] = alphabet[digit.Int64()]
	}
	return string(k) + "-" + string(b)
}

// Check returns an Invalid fault unless id has the form of the kind's identifiers.
func Check(k Kind, id string) error {
	rest, ok := strings.CutPrefix(id, string(k)+"-")
	if !ok || len(rest) != length || strings.Trim(rest, alphabet) != "" {
		return fault.New(fault.Invalid, "id %q: want %s- and %d letters or digits", clip(id), k, length)
	}
	return nil
}

// CheckAnyContainer returns an Invalid fault unless id has the form of what names a container: a function's, or a sandbox.
func CheckAnyContainer(id string) error {
	if strings.HasPrefix(id, string(Sandbox)+"-") {
		return Check(Sandbox, id)
	}
	return Check(Container, id)
}

// CheckHolder returns an Invalid fault unless id has the form of what has volumes mounted: a container of any kind, or a step of a build.
func CheckHolder(id string) error {
	if strings.HasPrefix(id, string(BuildStep)+"-") {
		return Check(BuildStep, id)
	}
	return CheckAnyRoot(id)
}

// CheckAnyRoot returns an Invalid fault unless id has the form of what names something with files of its own: a function's container, a sandbox,
// or a sidecar.
func CheckAnyRoot(id string) error {
	if strings.HasPrefix(id, string(Sidecar)+"-") {
		return Check(Sidecar, id)
	}
	return CheckAnyContainer(id)
}

var (
	namePattern = regexp.MustCompile(`^[A-Za-z0-9\-_.]{1,64}$`)
	tagPattern  = regexp.MustCompile(`^[A-Za-z0-9\-_.]{1,50}$`)
	appID       = regexp.MustCompile(`^ap-[A-Za-z0-9]{22}$`)
	digest      = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// CheckName returns an Invalid fault unless name may name an object of the given noun: 1 to 64 of [A-Za-z0-9-_.], not like an app id.
func CheckName(noun, name string) error {
	if !namePattern.MatchString(name) {
		return fault.New(fault.Invalid, "%s name %q: want 1 to 64 letters, digits, '-', '_' or '.'", noun, clip(name))
	}
	if appID.MatchString(name) {
		return fault.New(fault.Invalid, "%s name %q: looks like an app id; choose another", noun, name)
	}
	return nil
}

// CheckTag returns an Invalid fault unless tag may label a deployment: 1 to 50 of [A-Za-z0-9-_.].
func CheckTag(tag string) error {
	if !tagPattern.MatchString(tag) {
		return fault.New(fault.Invalid, "deployment tag %q: want 1 to 50 letters, digits, '-', '_' or '.'", clip(tag))
	}
	return nil
}

// CheckDigest returns an Invalid fault unless d is "sha256:" and 64 lower-case hex digits.
func CheckDigest(d string) error {
	if !digest.MatchString(d) {
		return fault.New(fault.Invalid, "digest %q: want sha256: and 64 hex digits", clip(d))
	}
	return nil
}

// Digest returns the digest of content.
func Digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// clip bounds what a bad input adds to a message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
