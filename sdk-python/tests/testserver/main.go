// Command testserver is a gateway for the SDK's tests: it speaks the real protocol over real HTTP/2, keeps everything in memory, and
// answers inputs as a test tells it to, by default with their own arguments. It prints the address it listens on, and takes orders from
// the test at /control.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"

	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	flag.Parse()
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: handler(newState()), Protocols: protocols}
	log.Fatal(server.Serve(listener))
}

func handler(s *state) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(skerryv1connect.NewAppServiceHandler(&apps{state: s}))
	mux.Handle(skerryv1connect.NewBlobServiceHandler(&blobs{state: s}))
	mux.Handle(skerryv1connect.NewCallServiceHandler(&calls{state: s}))
	mux.Handle(skerryv1connect.NewFunctionServiceHandler(&functions{state: s}))
	mux.Handle(skerryv1connect.NewImageServiceHandler(&images{state: s}))
	mux.Handle(skerryv1connect.NewLogServiceHandler(&logs{state: s}))
	mux.Handle(skerryv1connect.NewMountServiceHandler(&mounts{state: s}))
	mux.Handle(skerryv1connect.NewSandboxServiceHandler(&sandboxes{state: s}))
	mux.Handle(skerryv1connect.NewSecretServiceHandler(&secrets{state: s}))
	mux.Handle(skerryv1connect.NewTokenServiceHandler(&tokens{}))
	mux.HandleFunc("/control", s.control)
	mux.HandleFunc("/sandboxes/", s.serve)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/control") && r.Header.Get("Authorization") != "Bearer tk-test.secret" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"code":"unauthenticated","message":"unknown token"}`))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// control takes a JSON object of orders and returns what has happened so far.
func (s *state) control(w http.ResponseWriter, r *http.Request) {
	var o orders
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(s.obey(&o)); err != nil {
		log.Print(err)
	}
}
