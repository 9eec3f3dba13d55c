package gmailtest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

// crowded is a mailbox with n messages of as many senders.
func crowded(n int) (*gmailtest.Server, *gmailtest.User) {
	s, _ := newServer(gmailtest.Options{UserUnits: -1, ProjectUnits: -1})
	ada := s.AddUser("ada@example.com")
	for i := range n {
		ada.Deliver(letter(fmt.Sprintf("p%d@d%d.example", i, i%5000), "ada@example.com", fmt.Sprint("mail ", i), fmt.Sprint(i, "@other.example")), noon.Add(time.Duration(i)*time.Minute))
	}
	return s, ada
}

func BenchmarkDeliver20000(b *testing.B) {
	for b.Loop() {
		crowded(20_000)
	}
}

// A search for 50 addresses, as people-first imports send them, through 20,000 messages.
func BenchmarkSearch20000(b *testing.B) {
	s, ada := crowded(20_000)
	var or []string
	for i := range 50 {
		a := fmt.Sprintf("p%d@d%d.example", i*100, i*100%5000)
		or = append(or, "from:"+a, "to:"+a, "cc:"+a)
	}
	svc, err := newService(b.Context(), ada, s)
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		n++ // another search each time: the last one is remembered
		l, err := svc.Messages.List("me").Q(fmt.Sprintf("{%s} after:%d", strings.Join(or, " "), 1_000_000+n)).Do()
		if err != nil || len(l.Messages) != 50 {
			b.Fatal(l, err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s, ada := crowded(1)
	svc, err := newService(b.Context(), ada, s)
	if err != nil {
		b.Fatal(err)
	}
	id := ada.Messages()[0].ID
	var m *gmail.Message
	for b.Loop() {
		if m, err = svc.Messages.Get("me", id).Format("metadata").Do(); err != nil {
			b.Fatal(err, m)
		}
	}
}
