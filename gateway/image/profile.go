package image

import "context"

// MaxProfile is the most chunks of a profile.
const MaxProfile = 8192

// Profiles keeps which chunks of an image's file its starts have read first, so that the next start on any worker has them fetched at once.
type Profiles interface {
	// PutProfile keeps the profile of a file, or returns a fault.NotFound where no image has the file.
	PutProfile(ctx context.Context, file string, chunks []uint32) error
	// Profile returns the profile of a file, which is empty where there is none.
	Profile(ctx context.Context, file string) ([]uint32, error)
}
