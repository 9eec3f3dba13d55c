package walktest_test

import (
	"net"
	"strconv"
	"testing"

	"github.com/intellicon/email-integration/examples/internal/walk/walktest"
)

// An address that is free stays so: its port is none that systems give to a connection, or to a server that asks for any, by default.
func TestFreeIsGivenToNobody(t *testing.T) {
	at := walktest.Free(t)
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := strconv.Atoi(port); err != nil || n >= 32768 {
		t.Errorf("%s may be given to anybody, %v", at, err)
	}
}
