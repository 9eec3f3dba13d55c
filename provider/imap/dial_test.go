package imap_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
)

// A server that greets with BYE and is gone says why, however late it is listened to.
func TestTheGreetingIsHeard(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		io.WriteString(theirs, "* BYE Too many connections\r\n") //nolint:errcheck // the test sees it
	}()
	c := imapclient.New(ours, nil)
	<-c.Closed()
	for range 50 {
		if err, said := imap.Greeting(c), (*goimap.Error)(nil); !errors.As(err, &said) || said.Type != goimap.StatusResponseTypeBye {
			t.Fatalf("the greeting is %v", err)
		}
	}
}

// What a server offers is not taken from what it said before the sign-in.
func TestCapabilitiesAreThoseAfterTheSignIn(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		fmt.Fprint(theirs, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n")
		for in := bufio.NewScanner(theirs); in.Scan(); {
			tag, what, _ := strings.Cut(in.Text(), " ")
			if what != "CAPABILITY" {
				t.Errorf("asked %s", what)
			}
			fmt.Fprintf(theirs, "* CAPABILITY IMAP4rev1 IDLE\r\n%s OK done\r\n", tag)
		}
	}()
	c := imapclient.New(ours, nil)
	defer c.Close()
	before := c.Caps()
	if caps, err := imap.Capabilities(c, before); err != nil || !caps.Has(goimap.CapIdle) {
		t.Errorf("when go-imap has not heard of the sign-in yet: %v, %v", caps, err)
	}
	told := c.Caps()
	if caps, err := imap.Capabilities(c, before); err != nil || !caps.Has(goimap.CapIdle) {
		t.Errorf("when it has: %v of %v, %v", caps, told, err)
	}
}

// What is offered is what go-imap goes by, also where the server won't say: its Move would else copy, and expunge what others have marked.
func TestCapabilitiesAreThoseOfGoIMAP(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		fmt.Fprint(theirs, "* OK [CAPABILITY IMAP4rev1 MOVE UIDPLUS] ready\r\n")
		for in := bufio.NewScanner(theirs); in.Scan(); {
			tag, what, _ := strings.Cut(in.Text(), " ")
			if what == "CAPABILITY" {
				fmt.Fprintf(theirs, "%s BAD Request is throttled. Suggested Backoff Time: 299963 milliseconds\r\n", tag)
			} else {
				fmt.Fprintf(theirs, "%s OK LOGIN completed.\r\n", tag)
			}
		}
	}()
	c := imapclient.New(ours, nil)
	defer c.Close()
	before := c.Caps()
	if err := c.Login("ada", "secret").Wait(); err != nil {
		t.Fatal(err)
	}
	caps, err := imap.Capabilities(c, before)
	if err != nil || caps.Has(goimap.CapMove) != c.Caps().Has(goimap.CapMove) {
		t.Errorf("offered: %v, go-imap goes by %v; %v", caps, c.Caps(), err)
	}
}

// A connection that ends takes nothing away from what the server can do: whoever is told that it has neither MOVE nor UIDPLUS never asks it again.
func TestWhatIsOfferedOutlivesTheConnection(t *testing.T) {
	box := dial(t, imaptest.Start(t, nil), nil)
	for range 20 {
		if !box.OffersAtTheEnd(t.Context(), goimap.CapMove) {
			t.Fatal("at the end of its connection the server has no MOVE")
		}
	}
}

// Close ends a call that is connecting, also where nobody answers the dial.
func TestCloseEndsConnecting(t *testing.T) {
	s := imaptest.Start(t, nil)
	dials := make(chan struct{}, 1)
	deaf := false
	box := dial(t, s, func(c *imap.Config) {
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if !deaf {
				deaf = true
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}
			dials <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	s.Cut()
	done := make(chan error, 1)
	go func() { _, err := box.Start(context.Background()); done <- err }()
	<-dials
	box.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the call ended with %v", err)
	}
}
