package ident_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint/internal/ident"
	"github.com/intellicon/email-integration/message"
)

func hasher(t *testing.T, org string) *ident.Hasher {
	h, err := ident.New(bytes.Repeat([]byte{7}, 32), org)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func envelope(subject string) *message.Envelope {
	return &message.Envelope{Has: message.HasHeader, Subject: subject, Date: time.Unix(1e9, 0),
		From: []message.Address{message.NewAddress("Ada", "ada+crm@mail.eu.example.co.uk")}}
}

func TestFingerprintIsEqualInEveryCopy(t *testing.T) {
	h := hasher(t, "o")
	a, b := envelope("Hello  there"), envelope("Hello there")
	b.Received = time.Unix(2e9, 0)
	b.MessageID = "rewritten@example.com"
	if !bytes.Equal(h.Fingerprint(a), h.Fingerprint(b)) {
		t.Error("a folded subject, another Message-ID or receive time changed the fingerprint")
	}
	if bytes.Equal(h.Fingerprint(a), h.Fingerprint(envelope("Other"))) {
		t.Error("another subject has the same fingerprint")
	}
	if bytes.Equal(h.Fingerprint(a), hasher(t, "p").Fingerprint(a)) {
		t.Error("two organisations share a fingerprint")
	}
	a.Has = message.HasIDs
	if h.Fingerprint(a) != nil {
		t.Error("an envelope without fields has a fingerprint")
	}
}

func TestParticipantsReachEveryRecordChange(t *testing.T) {
	h := hasher(t, "o")
	got := h.Participants(envelope("x"))
	for _, k := range []message.Key{"ada+crm@mail.eu.example.co.uk", "ada@mail.eu.example.co.uk", "mail.eu.example.co.uk",
		"eu.example.co.uk", "example.co.uk"} {
		if !slices.ContainsFunc(got, func(b []byte) bool { return bytes.Equal(b, h.Key(k)) }) {
			t.Errorf("%s is not among the hashes", k)
		}
	}
	if len(got) != 5 {
		t.Errorf("%d hashes, want 5: the public suffix itself is nobody's", len(got))
	}
}
