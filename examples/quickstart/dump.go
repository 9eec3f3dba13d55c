package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/state"
)

// A dump is one JSON object a line: the ledger's rows and the CRM's emails, with everything that a person could tell apart and
// nothing that depends on the order of work (row ids, email ids, revisions, times of this run). The lines are sorted, so two
// mailboxes that came to the same end by different ways, kills included, have equal dumps.

// ledgerLine is what the ledger says of one item.
type ledgerLine struct {
	What      string   `json:"what"`            // "ledger"
	MessageID string   `json:"message_id_hash"` // hex of the keyed hash, "" where the mail has no id
	Folders   []string `json:"folders"`
	Fate      string   `json:"fate"`
	Reason    string   `json:"reason"`
	Left      bool     `json:"left"`
	History   bool     `json:"history"`
	Sent      bool     `json:"sent"`
	Received  string   `json:"received"` // RFC 3339, UTC
	Size      int64    `json:"size"`     // bytes
}

// emailLine is what the CRM has of one email.
type emailLine struct {
	What        string     `json:"what"` // "email"
	MessageID   string     `json:"message_id"`
	Subject     string     `json:"subject"`
	Holders     int        `json:"holders"` // how many mailboxes; there is one here
	Links       []linkLine `json:"links"`   // sorted by kind and id, as the engine hands them over
	Outbound    bool       `json:"outbound"`
	History     bool       `json:"history"`
	Partial     string     `json:"partial"`
	Joined      bool       `json:"joined"` // it turned out to be a copy of another email
	When        string     `json:"when"`   // RFC 3339, UTC
	Text        int        `json:"text"`   // bytes
	HTML        int        `json:"html"`   // bytes
	Attachments int        `json:"attachments"`
}

type linkLine struct {
	Kind     string `json:"kind"`
	ID       string `json:"id"`
	By       string `json:"by"`
	Evidence string `json:"evidence"`
	Strength int    `json:"strength"`
	Removed  bool   `json:"removed"`
}

// dump writes the file of -dump. It holds Message-IDs and subjects, so it is for the caller's eyes alone.
func dump(ctx context.Context, path string, ledger state.Ledger, connection int64, emails []emailint.Email) error {
	var lines [][]byte
	add := func(v any) error {
		b, err := json.Marshal(v)
		if err == nil {
			lines = append(lines, append(b, '\n'))
		}
		return err
	}
	for after := int64(0); ; {
		rows, err := ledger.Items(ctx, organisation, connection, after, 1000)
		if err != nil {
			return fmt.Errorf("dumping the ledger: %w", err)
		}
		if len(rows) == 0 {
			break
		}
		for _, r := range rows {
			if err := add(newLedgerLine(r)); err != nil {
				return fmt.Errorf("dumping the ledger: %w", err)
			}
		}
		after = rows[len(rows)-1].ID
	}
	for _, e := range emails {
		if err := add(newEmailLine(e)); err != nil {
			return fmt.Errorf("dumping the CRM: %w", err)
		}
	}
	slices.SortFunc(lines, bytes.Compare)
	if err := os.WriteFile(path, bytes.Join(lines, nil), 0o600); err != nil {
		return fmt.Errorf("writing the dump: %w", err)
	}
	return nil
}

func newLedgerLine(r state.Row) ledgerLine {
	l := ledgerLine{What: "ledger", MessageID: hex.EncodeToString([]byte(r.MessageID)), Folders: []string{}, Fate: string(r.Fate),
		Reason: r.Reason, Left: r.Left, History: r.History, Sent: r.Sent, Received: stamp(r.Received), Size: r.Size}
	for _, f := range r.Folders {
		l.Folders = append(l.Folders, f.Name)
	}
	slices.Sort(l.Folders)
	return l
}

func newEmailLine(e emailint.Email) emailLine {
	l := emailLine{What: "email", MessageID: e.Message.MessageID, Subject: e.Message.Subject, Holders: len(e.Holders), Links: []linkLine{},
		Outbound: e.Outbound, History: e.History, Partial: e.Partial, Joined: e.Survivor != "", When: stamp(e.When),
		Text: len(e.Message.Text), HTML: len(e.Message.HTML), Attachments: len(e.Message.Attachments)}
	for _, k := range e.Links {
		l.Links = append(l.Links, linkLine{string(k.Kind), k.ID, string(k.By), k.Evidence, k.Strength, k.Removed})
	}
	return l
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
