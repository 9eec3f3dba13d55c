package failpoint

import (
	"context"
	"encoding/json"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

// Store is a process's state. It embeds the real one because the interface is sealed; TestTable proves that nothing but Seal
// and Close slips through.
type Store struct {
	state.Store
	p *Process
}

// State is the state of a process, kept in s.
func State(s state.Store, p *Process) *Store { return &Store{s, p} }

// Close does nothing: the state outlives the process.
func (s *Store) Close() error { return nil }

func (s *Store) AddConnection(ctx context.Context, c state.Connection, own state.Change) (state.Connection, error) {
	return get(s.p, "state.AddConnection", func() (state.Connection, error) { return s.Store.AddConnection(ctx, c, own) })
}

func (s *Store) Connection(ctx context.Context, org string, id int64) (state.Connection, error) {
	return get(s.p, "state.Connection", func() (state.Connection, error) { return s.Store.Connection(ctx, org, id) })
}

func (s *Store) Connections(ctx context.Context, org string) ([]state.Connection, error) {
	return get(s.p, "state.Connections", func() ([]state.Connection, error) { return s.Store.Connections(ctx, org) })
}

func (s *Store) SetState(ctx context.Context, org string, id int64, st state.ConnState, reason string) error {
	return s.p.pass("state.SetState", func() error { return s.Store.SetState(ctx, org, id, st, reason) })
}

func (s *Store) Retry(ctx context.Context, org string, id int64, from state.ConnState) error {
	return s.p.pass("state.Retry", func() error { return s.Store.Retry(ctx, org, id, from) })
}

func (s *Store) Told(ctx context.Context, provider, address string, handle []byte) ([]state.Connection, error) {
	return get(s.p, "state.Told", func() ([]state.Connection, error) { return s.Store.Told(ctx, provider, address, handle) })
}

func (s *Store) SetWatch(ctx context.Context, l state.Lease, w state.Watch) error {
	return s.p.pass("state.SetWatch", func() error { return s.Store.SetWatch(ctx, l, w) })
}

func (s *Store) Rewatch(ctx context.Context, org string, id int64) error {
	return s.p.pass("state.Rewatch", func() error { return s.Store.Rewatch(ctx, org, id) })
}

func (s *Store) EndWatch(ctx context.Context, org string, id int64) error {
	return s.p.pass("state.EndWatch", func() error { return s.Store.EndWatch(ctx, org, id) })
}

func (s *Store) ClaimRefresh(ctx context.Context, org string, id int64, worker string, now time.Time, ttl time.Duration) (state.Connection, error) {
	return get(s.p, "state.ClaimRefresh", func() (state.Connection, error) { return s.Store.ClaimRefresh(ctx, org, id, worker, now, ttl) })
}

func (s *Store) EndRefresh(ctx context.Context, org string, id int64, worker string) error {
	return s.p.pass("state.EndRefresh", func() error { return s.Store.EndRefresh(ctx, org, id, worker) })
}

func (s *Store) SetCredential(ctx context.Context, org string, id int64, version int64, sealed []byte) (int64, error) {
	return get(s.p, "state.SetCredential", func() (int64, error) { return s.Store.SetCredential(ctx, org, id, version, sealed) })
}

func (s *Store) Nudge(ctx context.Context, org string, id int64, now time.Time) error {
	return s.p.pass("state.Nudge", func() error { return s.Store.Nudge(ctx, org, id, now) })
}

func (s *Store) SetRealTime(ctx context.Context, org string, id int64, text string) error {
	return s.p.pass("state.SetRealTime", func() error { return s.Store.SetRealTime(ctx, org, id, text) })
}

func (s *Store) Claim(ctx context.Context, worker string, now time.Time, ttl time.Duration) (state.Lease, error) {
	return get(s.p, "state.Claim", func() (state.Lease, error) { return s.Store.Claim(ctx, worker, now, ttl) })
}

func (s *Store) ClaimConnection(ctx context.Context, org string, id int64, worker string, now time.Time, ttl time.Duration) (state.Lease, error) {
	return get(s.p, "state.ClaimConnection", func() (state.Lease, error) {
		return s.Store.ClaimConnection(ctx, org, id, worker, now, ttl)
	})
}

func (s *Store) Renew(ctx context.Context, l state.Lease, now time.Time, ttl time.Duration) (state.Lease, error) {
	return get(s.p, "state.Renew", func() (state.Lease, error) { return s.Store.Renew(ctx, l, now, ttl) })
}

func (s *Store) Release(ctx context.Context, l state.Lease, r state.Released) error {
	return s.p.pass("state.Release", func() error { return s.Store.Release(ctx, l, r) })
}

func (s *Store) Wake(ctx context.Context, org string, id int64) error {
	return s.p.pass("state.Wake", func() error { return s.Store.Wake(ctx, org, id) })
}

func (s *Store) Erase(ctx context.Context, org string, connection int64, at time.Time, own state.Change, limit int) (state.Erasure, error) {
	return get(s.p, "state.Erase", func() (state.Erasure, error) { return s.Store.Erase(ctx, org, connection, at, own, limit) })
}

func (s *Store) Erasure(ctx context.Context, org string, connection int64) (state.Erasure, error) {
	return get(s.p, "state.Erasure", func() (state.Erasure, error) { return s.Store.Erasure(ctx, org, connection) })
}

func (s *Store) Erasures(ctx context.Context) ([]state.Erasure, error) {
	return get(s.p, "state.Erasures", func() ([]state.Erasure, error) { return s.Store.Erasures(ctx) })
}

func (s *Store) Position(ctx context.Context, l state.Lease) (state.Position, error) {
	return get(s.p, "state.Position", func() (state.Position, error) { return s.Store.Position(ctx, l) })
}

func (s *Store) AddRun(ctx context.Context, org string, connection int64, r state.Run) (state.Run, error) {
	return get(s.p, "state.AddRun", func() (state.Run, error) { return s.Store.AddRun(ctx, org, connection, r) })
}

func (s *Store) Runs(ctx context.Context, org string, connection int64) ([]state.Run, error) {
	return get(s.p, "state.Runs", func() ([]state.Run, error) { return s.Store.Runs(ctx, org, connection) })
}

func (s *Store) CommitPage(ctx context.Context, l state.Lease, page state.Page) (state.Committed, error) {
	return get(s.p, "state.CommitPage", func() (state.Committed, error) { return s.Store.CommitPage(ctx, l, page) })
}

func (s *Store) Sweep(ctx context.Context, l state.Lease, folder string) (int, error) {
	return get(s.p, "state.Sweep", func() (int, error) { return s.Store.Sweep(ctx, l, folder) })
}

func (s *Store) Placed(ctx context.Context, l state.Lease, folder string, after int64, limit int) ([]state.Row, error) {
	return get(s.p, "state.Placed", func() ([]state.Row, error) { return s.Store.Placed(ctx, l, folder, after, limit) })
}

func (s *Store) Leave(ctx context.Context, l state.Lease, rs []provider.Removal) (int, error) {
	return get(s.p, "state.Leave", func() (int, error) { return s.Store.Leave(ctx, l, rs) })
}

func (s *Store) Counted(ctx context.Context, l state.Lease, r state.Recount) error {
	return s.p.pass("state.Counted", func() error { return s.Store.Counted(ctx, l, r) })
}

func (s *Store) Leavers(ctx context.Context, l state.Lease, now time.Time, limit int) ([]state.Row, error) {
	return get(s.p, "state.Leavers", func() ([]state.Row, error) { return s.Store.Leavers(ctx, l, now, limit) })
}

func (s *Store) Recheck(ctx context.Context, l state.Lease, rows []int64, at, missed time.Time) error {
	return s.p.pass("state.Recheck", func() error { return s.Store.Recheck(ctx, l, rows, at, missed) })
}

func (s *Store) Gone(ctx context.Context, l state.Lease, ids []provider.ItemID, release bool) error {
	return s.p.pass("state.Gone", func() error { return s.Store.Gone(ctx, l, ids, release) })
}

func (s *Store) Pending(ctx context.Context, l state.Lease, now time.Time, limit int, bytes int64) (state.Batch, error) {
	return get(s.p, "state.Pending", func() (state.Batch, error) { return s.Store.Pending(ctx, l, now, limit, bytes) })
}

func (s *Store) Learn(ctx context.Context, l state.Lease, rows []state.Row) error {
	return s.p.pass("state.Learn", func() error { return s.Store.Learn(ctx, l, rows) })
}

func (s *Store) Settle(ctx context.Context, l state.Lease, b state.Batch, ss []state.Settlement) ([]state.Settled, error) {
	return get(s.p, "state.Settle", func() ([]state.Settled, error) { return s.Store.Settle(ctx, l, b, ss) })
}

func (s *Store) Threads(ctx context.Context, org string, qs []state.ThreadQuery) ([]state.Thread, error) {
	return get(s.p, "state.Threads", func() ([]state.Thread, error) { return s.Store.Threads(ctx, org, qs) })
}

func (s *Store) Counts(ctx context.Context, org string, connection int64) (state.Counts, error) {
	return get(s.p, "state.Counts", func() (state.Counts, error) { return s.Store.Counts(ctx, org, connection) })
}

func (s *Store) Lookup(ctx context.Context, org string, messageID state.Hash) ([]state.Row, []state.Email, error) {
	return get2(s.p, "state.Lookup", func() ([]state.Row, []state.Email, error) { return s.Store.Lookup(ctx, org, messageID) })
}

func (s *Store) Missing(ctx context.Context, org string, connection int64, ids []provider.ItemID) ([]provider.ItemID, error) {
	return get(s.p, "state.Missing", func() ([]provider.ItemID, error) { return s.Store.Missing(ctx, org, connection, ids) })
}

func (s *Store) Items(ctx context.Context, org string, connection int64, after int64, limit int) ([]state.Row, error) {
	return get(s.p, "state.Items", func() ([]state.Row, error) { return s.Store.Items(ctx, org, connection, after, limit) })
}

func (s *Store) Email(ctx context.Context, org string, id int64) (state.Email, error) {
	return get(s.p, "state.Email", func() (state.Email, error) { return s.Store.Email(ctx, org, id) })
}

func (s *Store) Undelivered(ctx context.Context, org string, connection int64, now time.Time, limit int) ([]state.Email, error) {
	return get(s.p, "state.Undelivered", func() ([]state.Email, error) { return s.Store.Undelivered(ctx, org, connection, now, limit) })
}

func (s *Store) Attempt(ctx context.Context, l state.Lease, ds []state.Delivery) ([]int64, error) {
	return get(s.p, "state.Attempt", func() ([]int64, error) { return s.Store.Attempt(ctx, l, ds) })
}

func (s *Store) Done(ctx context.Context, org string, ds []state.Delivery) error {
	return s.p.pass("state.Done", func() error { return s.Store.Done(ctx, org, ds) })
}

func (s *Store) Failed(ctx context.Context, org string, fs []state.Failure) error {
	return s.p.pass("state.Failed", func() error { return s.Store.Failed(ctx, org, fs) })
}

func (s *Store) Correct(ctx context.Context, org string, c state.Correction) error {
	return s.p.pass("state.Correct", func() error { return s.Store.Correct(ctx, org, c) })
}

func (s *Store) IntentsDue(ctx context.Context, l state.Lease, now time.Time, limit int) ([]state.Intent, error) {
	return get(s.p, "state.IntentsDue", func() ([]state.Intent, error) { return s.Store.IntentsDue(ctx, l, now, limit) })
}

func (s *Store) IntentStep(ctx context.Context, l state.Lease, id int64, from, to state.IntentState, st state.IntentStep) error {
	return s.p.pass("state.IntentStep", func() error { return s.Store.IntentStep(ctx, l, id, from, to, st) })
}

func (s *Store) Undo(ctx context.Context, org string, id int64, at time.Time) (state.Intent, error) {
	return get(s.p, "state.Undo", func() (state.Intent, error) { return s.Store.Undo(ctx, org, id, at) })
}

func (s *Store) IntentOf(ctx context.Context, org string, id int64) (state.Intent, error) {
	return get(s.p, "state.IntentOf", func() (state.Intent, error) { return s.Store.IntentOf(ctx, org, id) })
}

func (s *Store) IntentsOf(ctx context.Context, org string, email int64) ([]state.Intent, error) {
	return get(s.p, "state.IntentsOf", func() ([]state.Intent, error) { return s.Store.IntentsOf(ctx, org, email) })
}

func (s *Store) IntentLog(ctx context.Context, org string, connection int64, after int64, limit int) ([]state.IntentEvent, error) {
	return get(s.p, "state.IntentLog", func() ([]state.IntentEvent, error) { return s.Store.IntentLog(ctx, org, connection, after, limit) })
}

func (s *Store) Settings(ctx context.Context, org string) (state.Settings, error) {
	return get(s.p, "state.Settings", func() (state.Settings, error) { return s.Store.Settings(ctx, org) })
}

func (s *Store) SaveSettings(ctx context.Context, org string, to state.Settings, relink bool) (int64, error) {
	return get(s.p, "state.SaveSettings", func() (int64, error) { return s.Store.SaveSettings(ctx, org, to, relink) })
}

func (s *Store) UserSettings(ctx context.Context, org, user string) (json.RawMessage, int64, error) {
	return get2(s.p, "state.UserSettings", func() (json.RawMessage, int64, error) { return s.Store.UserSettings(ctx, org, user) })
}

func (s *Store) SaveUserSettings(ctx context.Context, org, user string, settings json.RawMessage, version int64) (int64, error) {
	return get(s.p, "state.SaveUserSettings", func() (int64, error) { return s.Store.SaveUserSettings(ctx, org, user, settings, version) })
}

func (s *Store) EraseUserSettings(ctx context.Context, org, user string) error {
	return s.p.pass("state.EraseUserSettings", func() error { return s.Store.EraseUserSettings(ctx, org, user) })
}

func (s *Store) Change(ctx context.Context, org string, c state.Change) (int64, error) {
	return get(s.p, "state.Change", func() (int64, error) { return s.Store.Change(ctx, org, c) })
}

func (s *Store) Spread(ctx context.Context, org string, limit int) (int, bool, error) {
	return get2(s.p, "state.Spread", func() (int, bool, error) { return s.Store.Spread(ctx, org, limit) })
}

func (s *Store) Unspread(ctx context.Context) ([]string, error) {
	return get(s.p, "state.Unspread", func() ([]string, error) { return s.Store.Unspread(ctx) })
}

func (s *Store) Pulled(ctx context.Context, org string) (string, time.Time, error) {
	return get2(s.p, "state.Pulled", func() (string, time.Time, error) { return s.Store.Pulled(ctx, org) })
}

func (s *Store) ChangeNumber(ctx context.Context, org string) (int64, error) {
	return get(s.p, "state.ChangeNumber", func() (int64, error) { return s.Store.ChangeNumber(ctx, org) })
}

func (s *Store) Declare(ctx context.Context, org string, ds []state.Declared) ([]string, int, error) {
	return get2(s.p, "state.Declare", func() ([]string, int, error) { return s.Store.Declare(ctx, org, ds) })
}

func (s *Store) Declared(ctx context.Context, org string) (state.DeclaredCounts, error) {
	return get(s.p, "state.Declared", func() (state.DeclaredCounts, error) { return s.Store.Declared(ctx, org) })
}

func (s *Store) OutboxAdd(ctx context.Context, org string, o state.Outgoing) (state.Outgoing, bool, error) {
	return get2(s.p, "state.OutboxAdd", func() (state.Outgoing, bool, error) { return s.Store.OutboxAdd(ctx, org, o) })
}

func (s *Store) OutboxGet(ctx context.Context, org, key string) (state.Outgoing, error) {
	return get(s.p, "state.OutboxGet", func() (state.Outgoing, error) { return s.Store.OutboxGet(ctx, org, key) })
}

func (s *Store) OutboxOf(ctx context.Context, org string, email int64) (state.Outgoing, error) {
	return get(s.p, "state.OutboxOf", func() (state.Outgoing, error) { return s.Store.OutboxOf(ctx, org, email) })
}

func (s *Store) OutboxStep(ctx context.Context, org, key string, from, to state.OutState, st state.Step) (state.Outgoing, error) {
	return get(s.p, "state.OutboxStep", func() (state.Outgoing, error) { return s.Store.OutboxStep(ctx, org, key, from, to, st) })
}

func (s *Store) OutboxDue(ctx context.Context, org string, now time.Time, limit int) ([]state.Outgoing, error) {
	return get(s.p, "state.OutboxDue", func() ([]state.Outgoing, error) { return s.Store.OutboxDue(ctx, org, now, limit) })
}

func (s *Store) CopiesDue(ctx context.Context, org string, now time.Time, limit int) ([]state.Outgoing, error) {
	return get(s.p, "state.CopiesDue", func() ([]state.Outgoing, error) { return s.Store.CopiesDue(ctx, org, now, limit) })
}

func (s *Store) CopyStep(ctx context.Context, org, key string, from, to state.CopyState, st state.CopyStep) error {
	return s.p.pass("state.CopyStep", func() error { return s.Store.CopyStep(ctx, org, key, from, to, st) })
}

func (s *Store) AddConsent(ctx context.Context, c state.Consent, now time.Time) error {
	return s.p.pass("state.AddConsent", func() error { return s.Store.AddConsent(ctx, c, now) })
}

func (s *Store) Consent(ctx context.Context, key state.Hash, now time.Time) (state.Consent, error) {
	return get(s.p, "state.Consent", func() (state.Consent, error) { return s.Store.Consent(ctx, key, now) })
}

func (s *Store) TakeConsent(ctx context.Context, key state.Hash, now time.Time) (state.Consent, error) {
	return get(s.p, "state.TakeConsent", func() (state.Consent, error) { return s.Store.TakeConsent(ctx, key, now) })
}

func (s *Store) SetPause(ctx context.Context, p state.Pause) error {
	return s.p.pass("state.SetPause", func() error { return s.Store.SetPause(ctx, p) })
}

func (s *Store) EndPause(ctx context.Context, org, provider string, admin bool) error {
	return s.p.pass("state.EndPause", func() error { return s.Store.EndPause(ctx, org, provider, admin) })
}

func (s *Store) Pauses(ctx context.Context) ([]state.Pause, error) {
	return get(s.p, "state.Pauses", func() ([]state.Pause, error) { return s.Store.Pauses(ctx) })
}

func (s *Store) TakeQuota(ctx context.Context, name string, t state.Taking, now time.Time) (int64, time.Duration, error) {
	return get2(s.p, "state.TakeQuota", func() (int64, time.Duration, error) { return s.Store.TakeQuota(ctx, name, t, now) })
}

func (s *Store) Deployment(ctx context.Context) (string, error) {
	return get(s.p, "state.Deployment", func() (string, error) { return s.Store.Deployment(ctx) })
}

func (s *Store) SetDeployment(ctx context.Context, from, to string) error {
	return s.p.pass("state.SetDeployment", func() error { return s.Store.SetDeployment(ctx, from, to) })
}

func (s *Store) Sealed(ctx context.Context, prefix []byte, after *state.Sealed, limit int) ([]state.Sealed, error) {
	return get(s.p, "state.Sealed", func() ([]state.Sealed, error) { return s.Store.Sealed(ctx, prefix, after, limit) })
}

func (s *Store) Reseal(ctx context.Context, vs []state.Sealed) (int, error) {
	return get(s.p, "state.Reseal", func() (int, error) { return s.Store.Reseal(ctx, vs) })
}
