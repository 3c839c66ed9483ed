package queue_test

import (
	"os"
	"testing"

	"github.com/skerry-dev/skerry/gateway/jetstream/flowtest"
)

func TestMain(m *testing.M) { os.Exit(flowtest.Main(m)) }
