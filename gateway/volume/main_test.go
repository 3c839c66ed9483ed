package volume_test

import (
	"os"
	"testing"

	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }
