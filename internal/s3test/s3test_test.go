package s3test_test

import (
	"net/http"
	"testing"

	"github.com/skerry-dev/skerry/internal/s3test"
)

func TestServerAnswers(t *testing.T) {
	s := s3test.Start(t, "one", "two")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/one", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden { // it is there, and wants a signature
		t.Errorf("status %d, want 403", answer.StatusCode)
	}
}
