package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// maxBeginnings is how many of a recipe's beginnings have names. What two recipes have in common is found by any name within it.
const maxBeginnings = 12

// Beginnings names the beginnings of a canonical recipe, the shortest first: the same for recipes that begin with the same steps on the same
// base. Of a long recipe the first few, and some to the last, have names.
func Beginnings(r Recipe, base string) ([]string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%T\n", base, r.Base.From)
	names := make([]string, 0, len(r.Steps)+1)
	add := func(v any) error {
		data, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("recipe: %w", err)
		}
		h.Write(data)
		names = append(names, hex.EncodeToString(h.Sum(nil))[:32])
		return nil
	}
	if err := add(r.Base.From); err != nil {
		return nil, err
	}
	for _, s := range r.Steps {
		fmt.Fprintf(h, "\n%T\n", s.Action)
		s.Number, s.Force = 0, false
		if err := add(s); err != nil {
			return nil, err
		}
	}
	if len(names) <= maxBeginnings {
		return names, nil
	}
	out := make([]string, 0, maxBeginnings)
	for i := range maxBeginnings {
		// The first ones one by one, then the rest in even steps to the last.
		n := i
		if i >= maxBeginnings/2 {
			n = len(names) - 1 - (maxBeginnings-1-i)*(len(names)-maxBeginnings/2)/(maxBeginnings/2)
		}
		out = append(out, names[n])
	}
	return out, nil
}
