package arch

import (
	"slices"
	"strings"
	"testing"
)

// reserved says that only some packages may import what begins with a path.
type reserved struct {
	imports string
	only    []string
	because string
}

var reservations = []reserved{
	{"database/sql", []string{"gateway/sqlstore"},
		"one package holds the schema and the queries, so that another database is one more adapter"},
	{"modernc.org/sqlite", []string{"gateway/sqlstore"},
		"the database is chosen where the SQL is"},
	{"github.com/jackc/pgx", []string{"gateway/sqlstore"},
		"the database is chosen where the SQL is"},
	{"github.com/nats-io", []string{"gateway/jetstream"},
		"the message engine is an adapter; nouns name what they need of it as ports"},
	{"gocloud.dev/secrets", []string{"gateway/kms"},
		"one place knows key management services; the rest has a key"},
	{"gocloud.dev", []string{"internal/blob", "gateway/kms"},
		"one place opens buckets and checks digests"},
	{"github.com/moby/buildkit", []string{"imagebuilder/llb", "imagebuilder/solve"},
		"a recipe is ours; BuildKit's types end where its graph is made and solved"},
	{"github.com/vishvananda", []string{
		"worker/network",
		// The build network's own bridge, and the namespace that BuildKit hands to its runtime: the builder runs without a worker too.
		"imagebuilder/bridge", "imagebuilder/runtime",
		// How all of them list what the kernel has; it changes nothing.
		"internal/netdump",
	}, "host networking is made and taken down in one place of a process, or it leaks"},
	{"github.com/google/nftables", []string{
		"worker/network",
		// Builds have the egress rules of containers, on the builder's own bridge.
		"imagebuilder/bridge",
	}, "egress rules are the isolation promise: one package of a process to read"},
	{module + "/internal/gen", []string{
		"*rpc", "*link", "worker/runner", "worker/guest", "internal/guestinit", "internal/wire", "gateway/wire", "worker/wire",
		// The SDK's tests run it against a server of their own.
		"sdk-python/tests/testserver",
	}, "generated types end at the edge, so that a protocol can change without the nouns"},
	{"connectrpc.com/connect", []string{
		"*rpc", "*link", "worker/runner", "worker/guest", "internal/guestinit", "internal/wire",
		// fault is where kinds become Connect codes and back.
		"internal/fault",
		"sdk-python/tests/testserver",
	}, "Connect is a transport: nouns return fault kinds"},
	{"github.com/rclone", []string{"worker/bucketfs"},
		"a bucket is served by a process of its own, and only that carries rclone"},
	{"os/exec", []string{
		// The two that run runsc.
		"worker/gvisor", "imagebuilder/runtime",
		// buildkitd is a child of the image builder.
		"imagebuilder/solve",
		// mmdebstrap makes base images, mkfs.erofs and mount make file systems.
		"imagebuilder/base", "internal/erofs", "worker/rootfs",
		// Processes that outlive the worker are started by the one that first needs them.
		"worker/beside",
		// Each bucket that is mounted has a process that outlives the worker.
		"worker/bucket",
		// PID 1 of a container starts the user's processes.
		"internal/guestinit",
		// skerryd up --detach starts itself; doctor asks host tools for their version.
		"internal/daemon",
		// The servers of tests.
		"internal/testserver", "internal/s3test", "gateway/sqlstore/storetest", "gateway/jetstream/flowtest",
	}, "a process started is a process to end: each place that starts one is known"},
}

func TestReservedImports(t *testing.T) {
	for _, f := range sources(t) {
		for _, imported := range f.imports {
			for _, r := range reservations {
				if !within(imported, r.imports) {
					continue
				}
				if !slices.ContainsFunc(r.only, func(dir string) bool { return within(f.pkg, dir) }) {
					t.Errorf("%s imports %s, which is for %s: %s", f.path, imported, strings.Join(r.only, ", "), r.because)
				}
			}
		}
	}
}

// processes are the three halves of the system that meet over links alone, so that each can run on a host of its own.
var processes = []string{"gateway", "worker", "imagebuilder"}

func TestProcessesNeverImportOneAnother(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, mine := range processes {
			if !within(f.pkg, mine) {
				continue
			}
			for _, imported := range f.own() {
				other, _, _ := strings.Cut(imported, "/")
				if other != mine && slices.Contains(processes, other) {
					t.Errorf("%s imports %s: %s and %s meet over links alone", f.path, imported, mine, other)
				}
			}
		}
	}
}

// adapters are the packages that join nouns to a technology; nouns don't know them.
var adapters = []string{
	"gateway/sqlstore", "gateway/jetstream", "gateway/rpc", "gateway/apprpc", "gateway/callrpc", "gateway/server", "gateway/workerlink", "gateway/buildlink", "gateway/ingress", "gateway/tunnelrpc", "gateway/secretrpc", "gateway/kms", "gateway/objectrpc", "gateway/volumerpc", "worker/agent",
	"worker/gatewaylink", "worker/sandboxlink", "worker/volumelink", "imagebuilder/server", "imagebuilder/gatewaylink", "imagebuilder/rpc", "internal/daemon",
}

// composers may import adapters: they are where the parts are put together.
var composers = []string{"gateway/server", "worker/agent", "imagebuilder/server", "internal/daemon", "cmd"}

func TestNounsKnowNoAdapters(t *testing.T) {
	for _, f := range sources(t) {
		composer := slices.ContainsFunc(composers, func(dir string) bool { return within(f.pkg, dir) })
		for _, imported := range f.own() {
			if slices.Contains(adapters, imported) && !within(f.pkg, imported) && !composer {
				t.Errorf("%s imports the adapter %s: adapters import nouns, never the reverse; say what you need as a port", f.path, imported)
			}
		}
	}
}

func TestNounsKnowNoHTTP(t *testing.T) {
	for _, f := range sources(t) {
		if !slices.Contains(nouns, f.pkg) {
			continue
		}
		for _, imported := range f.imports {
			if imported == "net/http" || imported == "golang.org/x/net/http2" {
				t.Errorf("%s imports %s: a noun is called by adapters and knows no transport", f.path, imported)
			}
		}
	}
}

var nouns = []string{
	"gateway/app", "gateway/autoscale", "gateway/call", "gateway/environment", "gateway/fleet", "gateway/function", "gateway/identity", "gateway/image",
	"gateway/item", "gateway/layer", "gateway/lineage", "gateway/gather", "gateway/cron", "gateway/dict", "gateway/queue", "gateway/object",
	"gateway/logs", "gateway/mount", "gateway/placement", "gateway/route", "gateway/secret", "gateway/task", "gateway/tunnel", "imagebuilder/llb", "imagebuilder/recipe",
	"worker/box", "worker/container", "worker/sandbox",
}

func TestLeafPackagesStayLeaves(t *testing.T) {
	for _, f := range sources(t) {
		if !within(f.pkg, "internal") || within(f.pkg, "internal/daemon") {
			continue
		}
		for _, imported := range f.own() {
			top, _, _ := strings.Cut(imported, "/")
			if slices.Contains(processes, top) {
				t.Errorf("%s imports %s: internal/ is below the processes that share it", f.path, imported)
			}
		}
	}
}

// quiet are the packages that return errors to somebody who knows what they mean, and so never log.
var quiet = append([]string{
	"internal/blob", "internal/cas", "internal/config", "internal/fault", "internal/ident", "internal/lifecycle", "internal/link", "internal/payload",
	"internal/wire", "gateway/sqlstore",
}, nouns...)

// talkers are nouns that own long-running work whose errors have no caller.
var talkers = map[string]string{
	"gateway/call":        "redelivers and reconciles by itself",
	"gateway/task":        "starts and stops containers by itself",
	"gateway/fleet":       "watches workers by itself",
	"gateway/app":         "stops apps whose client vanished by itself",
	"gateway/image":       "builds go on when the client that asked has left",
	"gateway/environment": "goes on with deletions whose caller is gone",
	"gateway/layer":       "forgets damaged and old results by itself",
	"gateway/logs":        "keeps logs when nobody reads them",
	"gateway/object":      "removes objects whose client vanished by itself",
	"gateway/queue":       "removes old records by itself",
	"gateway/cron":        "makes calls by itself",
	"gateway/tunnel":      "stores tunnels behind those who open them",
	"worker/sandbox":      "ends sandboxes by itself",
}

func TestQuietPackagesDontLog(t *testing.T) {
	for _, f := range sources(t) {
		if slices.Contains(quiet, f.pkg) && talkers[f.pkg] == "" && slices.Contains(f.imports, "log/slog") {
			t.Errorf("%s imports log/slog: this package returns its errors; a component that owns a loop logs them", f.path)
		}
	}
}
