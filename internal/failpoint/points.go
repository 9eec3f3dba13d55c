package failpoint

// Point is a place where a process can die: right before and right after the effect of one call to the outside.
type Point struct {
	Name  string
	Means string // what is true when the process dies between the two
	// Read says that the call changes nothing outside, so that a crash there is one after the last change before it.
	Read bool
	// Unreached says why the scenario of the crash suite can't come here; "" where it does. A reason that no longer holds fails
	// that suite.
	Unreached string
}

// Why the scenario does not come by.
const (
	noRefresh      = "the mailboxes of the scenario have passwords; see emailint.TestDeathsAroundAnAccess"
	noTicker       = "the scenario syncs each mailbox as a whole"
	noUserSettings = "users of the scenario have no settings"
	noSignIn       = "the mailboxes of the scenario have passwords; see emailint.TestDeathsAroundAnAccess"
	noPeople       = "the scenario reads everything; see emailint.TestPeopleFirstIsCutOff"
	noQuota        = "the services of the scenario share none"
	noOperator     = "the scenario has no operator who acts in the middle"
)

// Points is the table of all failpoints: every commit of the state, every call of a provider, a sender and the host's CRM.
// TestTable compares it with the interfaces, so that a new method without a failpoint fails its test.
var Points = []Point{
	{Name: "state.AddConnection", Means: "the mailbox is connected and the host was not told its id"},
	{Name: "state.Connection", Read: true, Means: "nothing"},
	{Name: "state.Connections", Read: true, Means: "nothing"},
	{Name: "state.SetState", Means: "the mailbox is paused or resumed and the host was not told", Unreached: noOperator},
	{Name: "state.Retry", Means: "the mailbox is tried again and whoever asked was not told", Unreached: noOperator},
	{Name: "state.ClaimRefresh", Means: "nobody may refresh the credential until that right runs out", Unreached: noRefresh},
	{Name: "state.EndRefresh", Means: "nothing", Unreached: noRefresh},
	{Name: "state.SetCredential", Means: "the new credential is stored and the old one still in use", Unreached: noRefresh},
	{Name: "state.Nudge", Means: "what a user sent is to be looked for and whoever asked was not told", Unreached: noTicker},
	{Name: "state.Told", Read: true, Means: "nothing", Unreached: noSignIn},
	{Name: "state.SetWatch", Means: "news is sent for and the worker doesn't know", Unreached: noSignIn},
	{Name: "state.Rewatch", Means: "the mailbox is due and whoever told of it was not told", Unreached: noSignIn},
	{Name: "state.EndWatch", Means: "no news is sent for any more, and the rest of a disconnection is to be done", Unreached: noSignIn},
	{Name: "state.SetRealTime", Means: "a note for the user", Unreached: "only Run waits for news; see crash.TestRun"},
	{Name: "state.Claim", Means: "a mailbox is leased by nobody", Unreached: "only Run claims what is due; see crash.TestRun"},
	{Name: "state.ClaimConnection", Means: "the mailbox is leased by nobody: the lease must run out or be taken over"},
	{Name: "state.Renew", Means: "the lease is long and its holder dead"},
	{Name: "state.Release", Means: "the pass is over and the worker doesn't know"},
	{Name: "state.Wake", Means: "the mailbox is due and whoever woke it was not told"},

	{Name: "state.Erase", Means: "some records of a mailbox are erased and the rest is to go, or the CRM to be told"},
	{Name: "state.Erasure", Read: true, Means: "nothing"},
	{Name: "state.Erasures", Read: true, Means: "nothing"},

	{Name: "state.Position", Read: true, Means: "nothing"},
	{Name: "state.AddRun", Means: "history is planned and the live cursor not taken"},
	{Name: "state.Runs", Read: true, Means: "nothing"},
	{Name: "state.CommitPage", Means: "rows and cursor stand, and no envelope is in memory: pending mail is read again"},
	{Name: "state.Sweep", Means: "one folder is swept and others are not"},
	{Name: "state.Placed", Read: true, Means: "nothing"},
	{Name: "state.Leave", Means: "mail has left its folder, and the recount is still to be done"},
	{Name: "state.Counted", Means: "a recount is over and the worker doesn't know"},
	{Name: "state.Leavers", Read: true, Means: "nothing"},
	{Name: "state.Recheck", Means: "mail that left is looked at again later"},
	{Name: "state.Gone", Means: "a deletion is noted and what follows from it is not done"},
	{Name: "state.Pending", Read: true, Means: "nothing"},
	{Name: "state.Learn", Means: "a header's hashes are stored and its mail is not decided"},
	{Name: "state.Settle", Means: "links and revision stand and the CRM has not heard of them"},
	{Name: "state.Threads", Read: true, Means: "nothing"},
	{Name: "state.Counts", Read: true, Means: "nothing"},
	{Name: "state.Lookup", Read: true, Means: "nothing"},
	{Name: "state.Missing", Read: true, Means: "nothing"},
	{Name: "state.Items", Read: true, Means: "nothing"},

	{Name: "state.Email", Read: true, Means: "nothing"},
	{Name: "state.Undelivered", Read: true, Means: "nothing"},
	{Name: "state.Attempt", Means: "the email counts as sent to the CRM and was not: it is sent until acknowledged (rule 2)"},
	{Name: "state.Done", Means: "the CRM has it and we know, the host's event is not fired"},
	{Name: "state.Failed", Means: "delivery is postponed"},
	{Name: "state.Correct", Means: "a person's word is stored and the person was not told"},

	{Name: "state.IntentsDue", Read: true, Means: "nothing"},
	{Name: "state.IntentStep", Means: "an intent counts as attempted and the mailbox was not asked, or was asked and nobody knows (rule 17)"},
	{Name: "state.Undo", Means: "the wish to take something back is stored and the person was not told"},
	{Name: "state.IntentOf", Read: true, Means: "nothing", Unreached: noOperator},
	{Name: "state.IntentsOf", Read: true, Means: "nothing"},
	{Name: "state.IntentLog", Read: true, Means: "nothing"},

	{Name: "state.Settings", Read: true, Means: "nothing"},
	{Name: "state.SaveSettings", Means: "the rules are new and the host was not told"},
	{Name: "state.UserSettings", Read: true, Means: "nothing", Unreached: noUserSettings},
	{Name: "state.SaveUserSettings", Means: "a user's settings are new and the user was not told", Unreached: noUserSettings},
	{Name: "state.EraseUserSettings", Means: "a user's settings are gone and the user was not told", Unreached: noUserSettings},
	{Name: "state.Change", Means: "a change is stored and whoever told it doesn't know; the contact is not made (rule 5)"},
	{Name: "state.ChangeNumber", Read: true, Means: "nothing"},
	{Name: "state.Spread", Means: "some of the mail that a change concerns is due and the rest is not found yet"},
	{Name: "state.Unspread", Read: true, Means: "nothing"},
	{Name: "state.Pulled", Read: true, Means: "nothing"},

	{Name: "state.Declare", Means: "emails of the host's are declared and the host was not told: it declares them again"},
	{Name: "state.Declared", Read: true, Means: "nothing"},

	{Name: "state.OutboxAdd", Means: "the mail is accepted and the host was not told: it sends again with the same key"},
	{Name: "state.OutboxGet", Read: true, Means: "nothing"},
	{Name: "state.OutboxOf", Read: true, Means: "nothing"},
	{Name: "state.OutboxStep", Means: "the outbox says sending and nothing was sent, or sent and nobody was told"},
	{Name: "state.OutboxDue", Read: true, Means: "nothing"},
	{Name: "state.CopiesDue", Read: true, Means: "nothing"},
	{Name: "state.CopyStep", Means: "a copy in Sent counts as filed and is not, or is and nobody knows: it is only looked for"},

	{Name: "state.AddConsent", Means: "a sign-in is begun and the user was not sent to the provider", Unreached: noSignIn},
	{Name: "state.Consent", Read: true, Means: "nothing", Unreached: noSignIn},
	{Name: "state.TakeConsent", Means: "the answer to a sign-in is used up and no mailbox connected: the user signs in again", Unreached: noSignIn},

	{Name: "state.SetPause", Means: "mailboxes are paused and the operator was not told", Unreached: noOperator},
	{Name: "state.EndPause", Means: "mailboxes are due and the operator was not told", Unreached: noOperator},
	{Name: "state.Pauses", Read: true, Means: "nothing"},
	{Name: "state.Deployment", Read: true, Means: "nothing"},
	{Name: "state.SetDeployment", Means: "the installation has its name and doesn't know", Unreached: noOperator},

	{Name: "state.Sealed", Read: true, Means: "nothing", Unreached: noOperator},
	{Name: "state.Reseal", Means: "some values have the new key and others the old one: they are found again", Unreached: noOperator},

	{Name: "state.TakeQuota", Means: "units of a quota are taken and not used", Unreached: noQuota},

	{Name: "crm.Find", Read: true, Means: "nothing"},
	{Name: "crm.CreateContacts", Means: "the contact exists and no mail is linked to it (rule 5)"},
	{Name: "crm.SaveEmails", Means: "the CRM has the email and the engine doesn't know"},
	{Name: "crm.UpdateEmails", Means: "the CRM has the new links and the engine doesn't know"},
	{Name: "crm.RemoveEmails", Means: "the CRM has removed the email and the engine doesn't know"},
	{Name: "crm.RecordChanges", Read: true, Means: "changes were pulled and not stored: they are pulled again"},
	{Name: "crm.Addresses", Read: true, Means: "nothing", Unreached: noPeople},

	{Name: "provider.Open", Read: true, Means: "a connection is open that nobody will close"},
	{Name: "provider.OpenToken", Read: true, Means: "a connection is open that nobody will close", Unreached: noSignIn},
	{Name: "provider.Watch", Means: "the service tells of news for a time, and the engine doesn't know: it asks again", Unreached: noSignIn},
	{Name: "provider.Push", Read: true, Means: "nobody was woken: the service sends it again, and the poll finds it", Unreached: noSignIn},
	{Name: "provider.Unwatch", Means: "the service tells no more, and the engine doesn't know", Unreached: noSignIn},
	{Name: "mailbox.Profile", Read: true, Means: "nothing"},
	{Name: "mailbox.Start", Read: true, Means: "a cursor was taken and not stored: the next one is later, history was planned before"},
	{Name: "mailbox.Changes", Read: true, Means: "a page was read and not stored"},
	{Name: "mailbox.History", Read: true, Means: "a page was read and not stored"},
	{Name: "mailbox.Content", Read: true, Means: "a mail was read for nothing"},
	{Name: "mailbox.Attachment", Read: true, Means: "nothing", Unreached: "the engine hands out no attachments yet"},
	{Name: "mailbox.Locate", Read: true, Means: "nothing"},
	{Name: "mailbox.Inventory", Read: true, Means: "nothing"},
	{Name: "mailbox.Wait", Read: true, Means: "news was heard and nobody woken: the poll finds it", Unreached: "only Run waits; see crash.TestRun"},
	{Name: "mailbox.Search", Read: true, Means: "a page was found and not stored", Unreached: noPeople},
	{Name: "mailbox.Plan", Read: true, Means: "nothing", Unreached: noPeople},
	{Name: "mailbox.Signature", Read: true, Means: "nothing", Unreached: "the engine shows it to nobody yet"},
	{Name: "mailbox.Archive", Means: "the mail is archived and the engine doesn't know (rule 17)"},
	{Name: "mailbox.Unarchive", Means: "the mail is back and the engine doesn't know"},
	{Name: "mailbox.Label", Means: "the mail has its label and the engine doesn't know"},
	{Name: "mailbox.Unlabel", Means: "the label is off and the engine doesn't know"},
	{Name: "mailbox.FindSent", Read: true, Means: "nothing"},
	{Name: "mailbox.FileSent", Means: "the copy lies in Sent and the engine doesn't know"},

	{Name: "sender.Open", Read: true, Means: "a connection is open that nobody will close"},
	{Name: "sender.Stage", Means: "a draft exists that nobody knows: it stays a draft"},
	{Name: "sender.Release", Means: "the mail is out and nobody knows: it is looked up, never sent again"},
	{Name: "sender.Lookup", Read: true, Means: "nothing"},
}
