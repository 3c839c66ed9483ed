package jetstream_test

import (
	"testing"

	"github.com/skerry-dev/skerry/gateway/dict/dicttest"
	"github.com/skerry-dev/skerry/gateway/jetstream/flowtest"
	"github.com/skerry-dev/skerry/gateway/queue"
	"github.com/skerry-dev/skerry/gateway/queue/queuetest"
)

func TestDicts(t *testing.T) {
	dicttest.Run(t, func(t *testing.T) dicttest.Store { return open(t, flowtest.Config(t, t.TempDir())).Dicts() })
}

func TestQueues(t *testing.T) {
	queuetest.Log(t, func(t *testing.T) queue.Log { return open(t, flowtest.Config(t, t.TempDir())).Queues() })
}
