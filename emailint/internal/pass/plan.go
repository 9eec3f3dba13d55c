package pass

import (
	"time"

	"github.com/intellicon/email-integration/emailint/internal/ident"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// Rows is the pure heart of a pass: what the ledger keeps of the items of a page. Nothing is left out: every item has a row,
// also one that could not be read, or was received before floor: a folder that is listed again, or mail that was moved, brings
// up what nobody asked to import.
func Rows(items []provider.Item, h *ident.Hasher, connectedAt, floor time.Time) []state.Row {
	rows := make([]state.Row, 0, len(items))
	for i := range items {
		it := &items[i]
		e := &it.Envelope
		r := state.Row{
			Item: it.ID, Folders: it.Folders, Fate: state.FatePending, Size: it.Size, Sent: e.Sent,
			Received: e.When(), Thread: e.Thread,
			// An unknown time is taken for history: better no automation than one fired on old mail.
			History: e.When().Before(connectedAt),
		}
		Headers(&r, e, h)
		if r.Fate = folderFate(it.Folders); r.Fate == state.FatePending && it.Err != nil {
			r.Fate, r.Reason = state.FateFailed, it.Err.Error()
		}
		if r.Fate == state.FatePending && TooOld(it.Envelope.Received, floor) {
			r.Fate, r.Reason = state.FateUnread, TooOldReason
		}
		rows = append(rows, r)
	}
	return rows
}

// TooOld reports whether a mail was received before what was to be imported. An unknown time is not.
func TooOld(received, floor time.Time) bool { return !received.IsZero() && received.Before(floor) }

// TooOldReason is the reason of mail that is too old.
const TooOldReason = "received before what was to be imported"

// Headers fills the hashes that a header gives.
func Headers(r *state.Row, e *message.Envelope, h *ident.Hasher) {
	if e.MessageID != "" {
		r.MessageID = state.Hash(h.MessageID(e.MessageID))
	}
	r.Fingerprint = state.Hash(h.Fingerprint(e))
	seen := map[string]bool{"": true}
	cite := func(m string) {
		if !seen[m] {
			seen[m] = true
			r.Cites = append(r.Cites, state.Hash(h.MessageID(m)))
		}
	}
	for _, m := range e.InReplyTo {
		cite(m)
	}
	for i := len(e.References) - 1; i >= 0; i-- {
		cite(e.References[i])
	}
	for _, p := range h.Participants(e) {
		r.Participants = append(r.Participants, state.Hash(p))
	}
}

// folderFate is pending unless the item is a draft, or lies in junk or trash. With labels one item lies in several places:
// what keeps it out wins.
func folderFate(fs []provider.Folder) state.Fate {
	for _, f := range fs {
		switch f.Role {
		case provider.RoleDrafts:
			return state.FateDraft
		case provider.RoleJunk:
			return state.FateSpam
		case provider.RoleTrash:
			return state.FateTrash
		}
	}
	return state.FatePending
}
