package emailint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// Who may do what: actor by action by owner.
func TestAccess(t *testing.T) {
	ann, bob := emailint.Actor{Org: "o", User: "ann"}, emailint.Actor{Org: "o", User: "bob"}
	root := emailint.Actor{Org: "o", User: "root", Admin: true}
	nobody := emailint.Actor{}
	for _, c := range []struct {
		do                     emailint.Action
		own, other, admin, org bool // ann on hers, bob on hers, an administrator on hers, the administrator on the organisation's
	}{
		{emailint.ToConnect, true, false, false, false},
		{emailint.ToDisconnect, true, false, false, false},
		{emailint.ToErase, true, false, false, false},
		{emailint.ToSend, true, false, false, false},
		{emailint.ToExplain, true, false, false, false},
		{emailint.ToUndo, true, false, false, false},
		{emailint.ToCorrect, true, false, false, false},
		{emailint.ToRetry, true, false, true, true},
		{emailint.ToSign, true, false, false, false},
		{emailint.ToSeeState, true, false, true, true},
		{emailint.ToSetSettings, false, false, true, true},
		{emailint.ToPause, false, false, true, true},
		{"do something else", false, false, false, false},
	} {
		for _, x := range []struct {
			who   string
			actor emailint.Actor
			owner string
			want  bool
		}{{"the owner", ann, "ann", c.own}, {"another", bob, "ann", c.other}, {"an administrator", root, "ann", c.admin}, {"an administrator, of all", root, "", c.org},
			{"another, of all", bob, "", false}, {"nobody", nobody, "", false}, {"nobody, of ann's", nobody, "ann", false}} {
			if got := x.actor.May(c.do, x.owner) == nil; got != x.want {
				t.Errorf("%s may %s: %v, want %v", x.who, c.do, got, x.want)
			}
		}
	}
}

// doors are all methods of Acting. For each: what is asked of the owner's mailbox, or of the organisation, and who may; the others are refused, whatever
// exists. own says that it is about the actor's own, so that everybody who is somebody may, and is shown nothing of the owner's.
var doors = map[string]struct {
	owner, admin, own bool
	ask               func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error
}{
	"Consent": {owner: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		_, err := a.Consent(ctx, emailint.ConsentRequest{Session: emailint.Session{ID: "s", Org: emailinttest.Org, User: "user"}, Provider: "gmail"})
		if err != nil && strings.Contains(err.Error(), "no provider") {
			return nil // he may, and there is none
		}
		return err
	}},
	"Connect": {owner: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		c, err := a.Connect(ctx, emailint.NewConnection{User: "user", Provider: w.Connection.Provider, Credential: []byte("{}")})
		if err == nil && c.Org != emailinttest.Org {
			return &emailint.ForbiddenError{Do: emailint.ToConnect} // one of his own
		}
		return err
	}},
	"Send": {owner: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		_, err := a.Send(ctx, answerTo(w, "by acting"))
		return err
	}},
	"Undo": {owner: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		_, err := a.Undo(ctx, 1)
		return err
	}},
	"Mutations": {owner: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		_, err := a.Mutations(ctx, w.Connection.ID, 0, 10)
		return err
	}},
	"Correct": {owner: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		err := a.Correct(ctx, emailint.Correction{Email: w.CRM.Emails(emailinttest.Org)[0].ID, Unlink: []linker.Record{ada}})
		byID := a.Correct(ctx, emailint.Correction{MessageID: "1@x", Unlink: []linker.Record{ada}})
		if (err == nil) != (byID == nil) {
			return errors.Join(err, byID, errors.New("one way and not the other"))
		}
		return err
	}},
	"Status": {owner: true, admin: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		s, err := a.Status(ctx, w.Connection.ID)
		if err == nil && (s.Connection.ID != w.Connection.ID || s.Connection.Credential != nil || slices.ContainsFunc(s.Runs, func(r state.Run) bool { return r.Cursor != nil })) {
			return fmt.Errorf("it shows %+v", s)
		}
		return err
	}},
	"Retry": {owner: true, admin: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		return a.Retry(ctx, w.Connection.ID)
	}},
	"Mailboxes": {own: true, owner: true, admin: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		ms, err := a.Mailboxes(ctx)
		if err == nil && len(ms) == 0 {
			err = errNothing
		}
		return err
	}},
	"Explain": {own: true, owner: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		x, err := a.Explain(ctx, "1@x")
		if err == nil && len(x.Copies)+len(x.Emails) == 0 {
			err = errNothing
		}
		return err
	}},
	"SetUserSettings": {own: true, owner: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		_, version, err := a.UserSettings(ctx)
		if err == nil {
			_, err = a.SetUserSettings(ctx, emailint.UserSettings{Signature: "<p>mine</p>"}, version)
		}
		if err == nil {
			err = noneOf(ctx, w)
		}
		return err
	}},
	"UserSettings": {own: true, owner: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		s, _, err := a.UserSettings(ctx)
		if err == nil && s.Signature != "<p>the owner's</p>" {
			err = errNothing
		}
		return err
	}},
	"EraseUserSettings": {own: true, owner: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		if err := a.EraseUserSettings(ctx); err != nil {
			return err
		}
		return noneOf(ctx, w)
	}},
	"Signature": {own: true, owner: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		s, err := a.Signature(ctx)
		if err == nil && !strings.Contains(s.HTML, "the owner") {
			err = errNothing
		}
		return err
	}},
	"PreviewSignature": {own: true, owner: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		s, err := a.PreviewSignature(ctx, "<p>{{user_email}}</p>")
		if err == nil && !strings.Contains(s.HTML, emailinttest.Owner) {
			err = errNothing
		}
		return err
	}},
	"Settings": {admin: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		_, _, err := a.Settings(ctx)
		return err
	}},
	"PatchSettings": {admin: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		_, version, err := w.Engine.Settings(ctx, emailinttest.Org)
		if err == nil {
			_, _, err = a.PatchSettings(ctx, []byte(`{}`), version)
		}
		return err
	}},
	"TestSMTP": {admin: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		err := a.TestSMTP(ctx, emailint.SMTP{})
		if errors.As(err, new(*emailint.ForbiddenError)) {
			return err
		}
		return nil // he may, and there is none
	}},
	"Pause": {admin: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		return a.Pause(ctx, "", "for a while")
	}},
	"Resume": {admin: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		err := w.Engine.Pause(ctx, emailint.Pause{Org: emailinttest.Org, Admin: true, By: "root", Reason: "for a while"})
		return errors.Join(err, a.Resume(ctx, ""))
	}},
	"Disconnect": {owner: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		_, err := a.Disconnect(ctx, w.Connection.ID)
		return err
	}},
	"Erase": {owner: true, ask: func(ctx context.Context, a *emailint.Acting, w *emailinttest.World) error {
		_, err := a.Erase(ctx, w.Connection.ID)
		return err
	}},
}

// errNothing says that the actor was shown nothing of the owner's.
var errNothing = errors.New("nothing")

// noneOf returns errNothing while the owner's own settings stand as they were.
func noneOf(ctx context.Context, w *emailinttest.World) error {
	if s, _, err := w.Engine.UserSettings(ctx, emailinttest.Org, "user"); err != nil || s.Signature == "<p>the owner's</p>" {
		return errors.Join(err, errNothing)
	}
	return nil
}

// By the doors of Acting, all of them, nobody comes to another's: actor by action by owner.
func TestActing(t *testing.T) {
	for i := range reflect.TypeFor[*emailint.Acting]().NumMethod() {
		if name := reflect.TypeFor[*emailint.Acting]().Method(i).Name; doors[name].ask == nil {
			t.Errorf("nobody looks who may go through %s", name)
		}
	}
	actors := map[string]emailint.Actor{
		"the owner": {Org: emailinttest.Org, User: "user"}, "another": {Org: emailinttest.Org, User: "bob"}, "an administrator": {Org: emailinttest.Org, User: "root", Admin: true},
		"a namesake elsewhere": {Org: "other", User: "user"}, "an administrator elsewhere": {Org: "other", User: "root", Admin: true}, "nobody": {}, "a nobody who administers": {Admin: true},
	}
	for name, door := range doors {
		for who, actor := range actors {
			s := emailint.DefaultSettings()
			s.Inbox = []emailint.InboxRule{{ID: "archive", On: true, Do: emailint.ArchiveMail}}
			w := emailinttest.New(t, emailinttest.WithSettings(s))
			w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
			for _, o := range []string{emailinttest.Org, "other"} {
				version := int64(1)
				if o == "other" {
					version = 0
				}
				if _, _, err := w.Engine.PatchSettings(t.Context(), o, []byte(`{"signature":{"allow_override":true}}`), version); err != nil {
					t.Fatal(err)
				}
			}
			w.Deliver(mail("ada@customer.example", emailinttest.Owner, "1"))
			if err := w.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Engine.SetUserSettings(t.Context(), emailinttest.Org, "user", emailint.UserSettings{Signature: "<p>the owner's</p>"}, 0); err != nil {
				t.Fatal(err)
			}
			before, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
			if err != nil {
				t.Fatal(err)
			}
			err = door.ask(t.Context(), w.Engine.As(actor), w)
			home := actor.Org == emailinttest.Org
			may := door.owner && home && actor.User == "user" || door.admin && actor.Admin && home
			// Settings, pauses and the like of their own organisation, and what is their own.
			elsewhere := actor.User != "" && !home && door.admin && !door.owner && actor.Admin
			switch {
			case may && err != nil:
				t.Errorf("%s: %s may, and is told %v", name, who, err)
			case may, elsewhere:
			case door.own && actor.User != "" && actor.Org != "":
				if !errors.Is(err, errNothing) {
					t.Errorf("%s: %s is shown the owner's: %v", name, who, err)
				}
			case door.own && errors.Is(err, errNothing):
			case !errors.As(err, new(*emailint.ForbiddenError)):
				t.Errorf("%s: %s may: %v", name, who, err)
			}
			if !may {
				after, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
				if err != nil || after.Connection.State != before.Connection.State || after.Connection.CredentialVersion != before.Connection.CredentialVersion ||
					after.Connection.Wake != before.Connection.Wake || len(after.Pauses) != 0 && name != "Resume" || len(w.Fake.Sent()) != 0 || len(w.CRM.Emails(emailinttest.Org)) != 1 {
					t.Errorf("%s: %s changed something: %+v, %v", name, who, after, err)
				}
			}
		}
	}
}

// Who knows the Message-ID of another's mail, and sends himself one with it, corrects nothing of the other's; nor does anybody but who manages the settings
// exclude a sender for all.
func TestCorrectingByActing(t *testing.T) {
	o := newOffice(t, false, "ann", "bob")
	o.connect("ann", "bob")
	o.arrives("ann", provider.RoleInbox, "hers@x", "From: ada@customer.example", "To: ann@own.example")
	o.arrives("bob", provider.RoleInbox, "hers@x", "From: bob@evil.example", "To: bob@own.example")
	o.arrives("ann", provider.RoleInbox, "private@x", stranger, "To: ann@own.example")
	o.arrives("bob", provider.RoleInbox, "private@x", "From: bob@evil.example", "To: bob@own.example")
	for _, u := range []string{"ann", "bob"} {
		o.arrives(u, provider.RoleInbox, "both@x", "From: ada@customer.example", "To: ann@own.example, bob@own.example")
	}
	o.rest()
	ann := o.engine.As(emailint.Actor{Org: emailinttest.Org, User: "ann"})
	bob := o.engine.As(emailint.Actor{Org: emailinttest.Org, User: "bob"})
	root := o.engine.As(emailint.Actor{Org: emailinttest.Org, User: "root", Admin: true})
	forbidden := func(what string, err error) {
		t.Helper()
		if !errors.As(err, new(*emailint.ForbiddenError)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, id := range []string{"hers@x", "private@x", "never@x"} {
		forbidden("bob on "+id, bob.Correct(t.Context(), emailint.Correction{MessageID: id, Link: []linker.Record{pat}}))
	}
	forbidden("root", root.Correct(t.Context(), emailint.Correction{MessageID: "both@x", Drop: true}))
	id := o.crm.Emails(emailinttest.Org)[slices.IndexFunc(o.crm.Emails(emailinttest.Org), func(e emailint.Email) bool { return e.Message.MessageID == "hers@x" })].ID
	forbidden("bob by id", bob.Correct(t.Context(), emailint.Correction{Email: id, Drop: true}))
	forbidden("bob by no id", bob.Correct(t.Context(), emailint.Correction{Email: "x", Drop: true}))
	forbidden("ann for all", ann.Correct(t.Context(), emailint.Correction{Email: id, NeverSender: true}))
	o.rest()
	o.has("hers@x", "ada by address; ann; whole")
	o.has("private@x")
	o.ok(bob.Correct(t.Context(), emailint.Correction{MessageID: "<both@x>", Link: []linker.Record{pat}}))
	o.ok(ann.Correct(t.Context(), emailint.Correction{Email: id, Unlink: []linker.Record{ada}}))
	o.rest()
	o.has("both@x", "ada by address, pat by person; ann, bob; whole")
	o.has("hers@x")
}

// Who sends from a mailbox of their own sends as themselves, whatever the server would let them write.
func TestNobodySendsAsAnother(t *testing.T) {
	w := emailinttest.New(t)
	a := w.Engine.As(emailint.Actor{Org: emailinttest.Org, User: "user"})
	ok := answerTo(w, "own")
	for name, change := range map[string]func(*emailint.Outgoing){
		"the envelope": func(m *emailint.Outgoing) { m.From = "boss@example.com" },
		"the header": func(m *emailint.Outgoing) {
			m.Raw = bytes.Replace(m.Raw, []byte(emailinttest.Owner), []byte("boss@example.com"), 1)
		},
		"a second From": func(m *emailint.Outgoing) { m.Raw = append([]byte("From: boss@example.com\r\n"), m.Raw...) },
		"two in one": func(m *emailint.Outgoing) {
			m.Raw = bytes.Replace(m.Raw, []byte("From: "), []byte("From: boss@example.com, "), 1)
		},
		"Sender": func(m *emailint.Outgoing) { m.Raw = append([]byte("Sender: boss@example.com\r\n"), m.Raw...) },
		"nobody": func(m *emailint.Outgoing) { m.Raw = bytes.Replace(m.Raw, []byte("From: "), []byte("X-From: "), 1) },
	} {
		m := answerTo(w, name)
		change(&m)
		if bytes.Equal(m.Raw, ok.Raw) && m.From == ok.From {
			t.Fatalf("%s: nothing is forged in %s", name, m.Raw)
		}
		if _, err := a.Send(t.Context(), m); !errors.As(err, new(*emailint.ForbiddenError)) {
			t.Errorf("%s: Send = %v", name, err)
		}
	}
	if _, err := a.Send(t.Context(), ok); err != nil || len(w.Fake.Sent()) != 1 {
		t.Errorf("their own: %v, %d sent", err, len(w.Fake.Sent()))
	}
	// Nor does anybody learn by a key what became of another's mail.
	other, err := w.Engine.Connect(t.Context(), emailinttest.Org, emailint.NewConnection{User: "bob", Provider: w.Connection.Provider, Credential: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	peek := answerTo(w, "own")
	peek.Connection = other.ID
	if got, err := w.Engine.As(emailint.Actor{Org: emailinttest.Org, User: "bob"}).Send(t.Context(), peek); err == nil || got != (emailint.Sending{}) {
		t.Errorf("by another's key: %+v, %v", got, err)
	}
}
