package main

import (
	"encoding/hex"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/guestinit/files"
	"github.com/skerry-dev/skerry/internal/guestinit/filesrpc"
	"github.com/skerry-dev/skerry/internal/guestinit/output"
	"github.com/skerry-dev/skerry/internal/guestinit/place"
	"github.com/skerry-dev/skerry/internal/guestinit/process"
	"github.com/skerry-dev/skerry/internal/guestinit/processrpc"
)

// inside is what skerry-init serves in a sandbox, here in this process: one for all sandboxes. Responses break off, or are refused, as a
// test orders.
type inside struct {
	place   *place.Place
	table   *process.Table
	handler http.Handler

	breakAfter atomic.Int64 // pieces of responses until one breaks off; 0: none does
	refuse     atomic.Int64 // requests that are answered as by a gateway without a worker
	requests   atomic.Int64
}

func newInside() *inside {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		log.Fatal(err)
	}
	s := &inside{place: place.New(), table: process.NewTable(output.NewStore(output.Config{Dir: os.TempDir()}))}
	env := map[string]string{"PATH": os.Getenv("PATH"), "HOME": "/root", "PLACE": "here"}
	if err := s.place.Configure(place.Settings{Env: env, Workdir: "/"}); err != nil {
		log.Fatal(err)
	}
	died := make(chan os.Signal, 8)
	signal.Notify(died, unix.SIGCHLD)
	go func() {
		for range died {
			s.table.Reap()
		}
	}()
	mux := http.NewServeMux()
	mux.Handle(skerryv1connect.NewProcessServiceHandler(processrpc.New(s.table, s.place)))
	mux.Handle(skerryv1connect.NewFilesystemServiceHandler(filesrpc.New(files.New())))
	s.handler = mux
	return s
}

// serve serves /sandboxes/<id>/ of a sandbox that runs.
func (s *state) serve(w http.ResponseWriter, r *http.Request) {
	s.inside.requests.Add(1)
	id, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/sandboxes/"), "/")
	code := ""
	s.mu.Lock()
	for _, each := range s.sandboxes {
		if each.info.GetSandboxId() == id {
			if code = "ok"; each.info.GetEnd() != nil {
				code = "failed_precondition"
			}
		}
	}
	s.mu.Unlock()
	if s.inside.refuse.Load() > 0 {
		s.inside.refuse.Add(-1)
		code = "unavailable"
	}
	if code != "ok" {
		if code == "" {
			code = "not_found"
		}
		refuseRequest(w, r, code, "sandbox "+id)
		return
	}
	r.URL.Path = "/" + rest
	s.inside.handler.ServeHTTP(&fragile{ResponseWriter: w, inside: s.inside}, r)
}

// refuseRequest answers with an error of Connect, to a unary request or to a streaming one.
func refuseRequest(w http.ResponseWriter, r *http.Request, code, message string) {
	body := fmt.Sprintf(`{"code":%q,"message":%q}`, code, message)
	if kind := r.Header.Get("Content-Type"); kind == "application/connect+proto" {
		w.Header().Set("Content-Type", kind)
		end := fmt.Sprintf(`{"error":%s}`, body)
		_, _ = w.Write(append([]byte{2, 0, 0, 0, byte(len(end))}, end...))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(map[string]int{"not_found": 404, "failed_precondition": 400, "unavailable": 503}[code])
	_, _ = w.Write([]byte(body))
}

// fragile is a response that breaks off when its time has come.
type fragile struct {
	http.ResponseWriter
	inside *inside
}

func (f *fragile) Write(data []byte) (int, error) {
	if f.inside.breakAfter.Load() > 0 && f.inside.breakAfter.Add(-1) == 0 {
		panic(http.ErrAbortHandler)
	}
	return f.ResponseWriter.Write(data)
}

// Unwrap is for http.ResponseController.
func (f *fragile) Unwrap() http.ResponseWriter { return f.ResponseWriter }

// Flush is for those who ask for it without one.
func (f *fragile) Flush() { f.ResponseWriter.(http.Flusher).Flush() }

func encode(m proto.Message) string {
	encoded, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(encoded)
}
