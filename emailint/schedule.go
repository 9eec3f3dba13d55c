package emailint

import (
	"encoding/binary"
	"hash/fnv"
	"time"

	"github.com/intellicon/email-integration/provider"
)

// The two lanes of a mailbox: a full pass reads and decides everything, at the pace of what others send; one that looks for what the user sent
// (state.Lease.SentOnly) reads what is new and decides sent mail alone, the rest waits in the ledger for the full one. What is real time is told by the
// service, and looked for all the same: a notification may get lost.

// safetyNet is how often a mailbox is looked at that tells of news itself.
const safetyNet = 5 * time.Minute

func pace(minutes int) time.Duration {
	if minutes == 0 {
		return safetyNet
	}
	return time.Duration(minutes) * time.Minute
}

// next is when a mailbox is due after a pass, for everything and for what its user sent. It is up to a tenth early, for each mailbox by another
// part: those that were connected together are not due together for ever.
func (s SyncSettings) next(connection int64, now time.Time) (full, sent time.Time) {
	h := fnv.New32a()
	h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(connection)), uint64(now.UnixMicro()))) //nolint:errcheck // it never fails
	early := func(d time.Duration) time.Time {
		return now.Add(d - d/10*time.Duration(h.Sum32()%1000)/1000)
	}
	full, sent = early(pace(s.InboundMinutes)), early(pace(s.OutboundMinutes))
	if full.Before(sent) {
		sent = full // a full pass sees it as well
	}
	return full, sent
}

// hint says what news of a mailbox makes due: all of it where inbound mail is wanted in real time, what the user sent where that is.
func (s SyncSettings) hint() (full, sent bool) {
	return s.InboundMinutes == 0, s.OutboundMinutes == 0
}

// window is what the import of a mailbox reaches: mail received up to so many days before it was connected, and since: the first pass comes later than that.
func window(days int, connected time.Time) provider.Window {
	if days < 0 {
		return provider.Window{}
	}
	return provider.Window{From: connected.Add(-time.Duration(days) * 24 * time.Hour)}
}
