package smtp_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/smtp"
)

// scripted is a mail server that takes one message, on the time of a bubble, and answers it after a while.
func scripted(t *testing.T, answers time.Duration, answer string, got func()) smtp.Config {
	cert, roots := certificate(t, "localhost")
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		conn := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{cert}})
		in := bufio.NewScanner(conn)
		fmt.Fprint(conn, "220 localhost\r\n")
		for data := false; in.Scan(); {
			switch line := in.Text(); {
			case data && line == ".":
				got()
				select {
				case <-time.After(answers):
				case <-t.Context().Done():
					return
				}
				fmt.Fprint(conn, answer+"\r\n")
				data = false
			case data:
			case line == "DATA":
				data = true
				fmt.Fprint(conn, "354 go on\r\n")
			case line == "QUIT": // without an answer
				<-t.Context().Done()
				return
			default:
				fmt.Fprint(conn, "250 ok\r\n")
			}
		}
	}()
	return smtp.Config{Host: "localhost", Encryption: smtp.SSL, FromAddress: "me@acme.example", TLSConfig: &tls.Config{RootCAs: roots},
		Dial: func(context.Context, string, string) (net.Conn, error) { return ours, nil }}
}

// A server may look into a message for minutes before it takes it. Who stops waiting then may never know, so its answer is waited for, a little.
func TestLateAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		answers time.Duration
		stop    bool // when the message is out
		sent    bool
		refused bool
	}{
		"after minutes":          {answers: 9 * time.Minute, sent: true},
		"too late":               {answers: 11 * time.Minute},
		"stopped, soon":          {answers: 9 * time.Second, stop: true, sent: true},
		"stopped, after minutes": {answers: 5 * time.Minute, stop: true},
		"stopped, and refused":   {answers: 9 * time.Second, stop: true, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				answer := "250 queued"
				if c.refused {
					answer = "550 5.7.1 not this one"
				}
				s, err := smtp.New(scripted(t, c.answers, answer, func() {
					if c.stop {
						cancel()
					}
				}))
				if err != nil {
					t.Fatal(err)
				}
				st, err := s.Stage(ctx, raw, options)
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				_, err = s.Release(ctx, st)
				if took := time.Since(begun); c.sent && took > c.answers+time.Minute {
					t.Errorf("it took %v to know what the server said after %v", took, c.answers)
				}
				if c.refused { // it is known, and more than that somebody stopped
					var refused *smtp.SendError
					if !errors.As(err, &refused) || refused.Code != 550 || errors.Is(err, provider.ErrTryLater) {
						t.Error(err)
					}
					return
				}
				if unknown := errors.As(err, new(*smtp.UnknownOutcomeError)); c.sent != (err == nil) || c.sent == unknown {
					t.Error(err)
				}
			})
		})
	}
}
