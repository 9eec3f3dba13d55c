package dialguard_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/intellicon/email-integration/provider/dialguard"
)

// A user typed the address of the cloud's metadata service as the mail server.
func ExampleGuard_DialContext() {
	guard := dialguard.Guard{
		Allow: []netip.Prefix{netip.MustParsePrefix("10.20.0.25/32")}, // our own mail server
	}
	// imap.New(&imap.Options{Dial: guard.DialContext}), and smtp.Config{Dial: guard.DialContext}
	_, err := guard.DialContext(context.Background(), "tcp", "169.254.169.254:143")
	var refused *dialguard.RefusedError
	fmt.Println(errors.As(err, &refused))
	fmt.Println(err)
	// Output:
	// true
	// dialguard: connections to "169.254.169.254" on port 143 are not allowed: use a public mail server and its port
}
