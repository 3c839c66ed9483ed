package image

import (
	"context"
	"regexp"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// DefaultTag is the tag of names that are given without one.
const DefaultTag = "latest"

// Name is what an image is called in the environment of an id.
type Name struct {
	Environment, Name, Tag string
}

// Named is an image under a name, now or in the past.
type Named struct {
	Name
	ImageID   string
	Public    bool
	UpdatedAt time.Time
}

// Names keeps the names of images and which images had them.
type Names interface {
	// PutName gives a name to an image from now on.
	PutName(ctx context.Context, n Named) error
	// ImageByName returns the image of a name, or a fault.NotFound.
	ImageByName(ctx context.Context, n Name) (*Named, error)
	// ListNames lists the names of an environment that begin with the prefix, in order. An empty environment is all.
	ListNames(ctx context.Context, environment, prefix string) ([]Named, error)
	// NameHistory lists the images that a name had, newest first; an empty tag is all tags.
	NameHistory(ctx context.Context, n Name) ([]Named, error)
}

// String returns the name with its tag.
func (n Name) String() string { return n.Name + ":" + n.Tag }

var tag = regexp.MustCompile(`^[A-Za-z0-9\-_.]{1,50}$`)

// check sets the tag that is left out and refuses what can't be a name.
func (n *Name) check() error {
	if n.Tag == "" {
		n.Tag = DefaultTag
	}
	if strings.HasPrefix(n.Name, "im-") {
		return fault.New(fault.Invalid, "image name %.80q: looks like an image id; choose another", n.Name)
	}
	if !tag.MatchString(n.Tag) {
		return fault.New(fault.Invalid, "image tag %.80q: want 1 to 50 letters, digits, '-', '_' or '.'", n.Tag)
	}
	return ident.CheckName("image", n.Name)
}

// Publish gives an image a name. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Publish(ctx context.Context, n Name, imageID string, public bool) error {
	if err := n.check(); err != nil {
		return err
	}
	if _, err := s.Image(ctx, imageID); err != nil {
		return err
	}
	return s.d.Names.PutName(ctx, Named{Name: n, ImageID: imageID, Public: public, UpdatedAt: time.Now()})
}

// ByName returns the image that has a name. Errors: fault.Invalid, fault.NotFound.
func (s *Service) ByName(ctx context.Context, n Name) (*Named, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	return s.d.Names.ImageByName(ctx, n)
}

// ListNames lists the names of an environment that begin with the prefix.
func (s *Service) ListNames(ctx context.Context, environment, prefix string) ([]Named, error) {
	return s.d.Names.ListNames(ctx, environment, prefix)
}

// NameHistory lists the images that a name had, newest first; an empty tag is all tags. Errors: fault.Invalid.
func (s *Service) NameHistory(ctx context.Context, n Name) ([]Named, error) {
	every := n.Tag == ""
	if err := n.check(); err != nil {
		return nil, err
	}
	if every {
		n.Tag = ""
	}
	return s.d.Names.NameHistory(ctx, n)
}
