package graphtest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Scopes of Graph that this server knows, as an app asks for them (facts 2.1).
const (
	ScopeRead          = "Mail.Read"
	ScopeReadWrite     = "Mail.ReadWrite"
	ScopeSend          = "Mail.Send"
	ScopeSettingsRead  = "MailboxSettings.Read"
	ScopeSettingsWrite = "MailboxSettings.ReadWrite"
	ScopeUser          = "User.Read"
	ScopeOffline       = "offline_access"
)

var (
	reads    = []string{ScopeRead, ScopeReadWrite}
	writes   = []string{ScopeReadWrite}
	sends    = []string{ScopeSend} // facts 2.1: "Mail.ReadWrite does not include sending"
	settings = []string{ScopeSettingsRead, ScopeSettingsWrite}
	profile  = []string{ScopeUser, "User.ReadBasic.All", "User.Read.All"}
	colours  = []string{ScopeSettingsWrite} // facts 2.3: creating a master category "needs MailboxSettings.ReadWrite"
)

// method is something that Graph does. U in a path is "me" or "users/{user}"; a path that goes on below a folder's message or a child folder
// stands for the shorter one.
type method struct {
	name, verb, path string
	scopes           []string // any of them
	do               func(*call) (*reply, *apiError)
	beside           bool // it is not the mailbox's: no limit of that one's counts it (from memory)
	unlocked         bool // it calls out, and takes Server.mu itself
}

var methods []*method

func init() { // in a table of the package's it would be its own initialiser
	methods = []*method{
		{name: "me", verb: "GET", path: "U", scopes: profile, do: (*call).getUser, beside: true},
		{name: "folders.list", verb: "GET", path: "U/mailFolders", scopes: reads, do: (*call).listFolders},
		{name: "folders.create", verb: "POST", path: "U/mailFolders", scopes: writes, do: (*call).createFolder},
		{name: "folders.delta", verb: "GET", path: "U/mailFolders/delta", scopes: reads, do: (*call).deltaFolders},
		{name: "folders.get", verb: "GET", path: "U/mailFolders/{folder}", scopes: reads, do: (*call).getFolder},
		{name: "folders.update", verb: "PATCH", path: "U/mailFolders/{folder}", scopes: writes, do: (*call).patchFolder},
		{name: "folders.delete", verb: "DELETE", path: "U/mailFolders/{folder}", scopes: writes, do: (*call).deleteFolder},
		{name: "folders.move", verb: "POST", path: "U/mailFolders/{folder}/move", scopes: writes, do: (*call).moveFolder},
		{name: "folders.children", verb: "GET", path: "U/mailFolders/{folder}/childFolders", scopes: reads, do: (*call).listFolders},
		{name: "folders.create", verb: "POST", path: "U/mailFolders/{folder}/childFolders", scopes: writes, do: (*call).createFolder},
		{name: "messages.list", verb: "GET", path: "U/messages", scopes: reads, do: (*call).listMessages},
		{name: "messages.list", verb: "GET", path: "U/mailFolders/{folder}/messages", scopes: reads, do: (*call).listMessages},
		{name: "messages.delta", verb: "GET", path: "U/mailFolders/{folder}/messages/delta", scopes: reads, do: (*call).deltaMessages},
		{name: "messages.create", verb: "POST", path: "U/messages", scopes: writes, do: (*call).createMessage},
		{name: "messages.create", verb: "POST", path: "U/mailFolders/{folder}/messages", scopes: writes, do: (*call).createMessage},
		{name: "messages.get", verb: "GET", path: "U/messages/{message}", scopes: reads, do: (*call).getMessage},
		{name: "messages.mime", verb: "GET", path: "U/messages/{message}/$value", scopes: reads, do: (*call).getMIME},
		{name: "messages.update", verb: "PATCH", path: "U/messages/{message}", scopes: writes, do: (*call).patchMessage},
		{name: "messages.delete", verb: "DELETE", path: "U/messages/{message}", scopes: writes, do: (*call).deleteMessage},
		{name: "messages.purge", verb: "POST", path: "U/messages/{message}/permanentDelete", scopes: writes, do: (*call).purgeMessage},
		{name: "messages.move", verb: "POST", path: "U/messages/{message}/move", scopes: writes, do: (*call).moveMessage},
		{name: "messages.copy", verb: "POST", path: "U/messages/{message}/copy", scopes: writes, do: (*call).copyMessage},
		{name: "messages.createReply", verb: "POST", path: "U/messages/{message}/createReply", scopes: writes, do: (*call).createReply},
		{name: "messages.createReplyAll", verb: "POST", path: "U/messages/{message}/createReplyAll", scopes: writes, do: (*call).createReplyAll},
		{name: "messages.createForward", verb: "POST", path: "U/messages/{message}/createForward", scopes: writes, do: (*call).createForward},
		{name: "messages.reply", verb: "POST", path: "U/messages/{message}/reply", scopes: sends, do: (*call).reply},
		{name: "messages.replyAll", verb: "POST", path: "U/messages/{message}/replyAll", scopes: sends, do: (*call).replyAll},
		{name: "messages.forward", verb: "POST", path: "U/messages/{message}/forward", scopes: sends, do: (*call).forward},
		{name: "messages.send", verb: "POST", path: "U/messages/{message}/send", scopes: sends, do: (*call).sendDraft},
		{name: "sendMail", verb: "POST", path: "U/sendMail", scopes: sends, do: (*call).sendMail},
		{name: "attachments.list", verb: "GET", path: "U/messages/{message}/attachments", scopes: reads, do: (*call).listAttachments},
		{name: "attachments.create", verb: "POST", path: "U/messages/{message}/attachments", scopes: writes, do: (*call).addAttachment},
		{name: "attachments.createUploadSession", verb: "POST", path: "U/messages/{message}/attachments/createUploadSession", scopes: writes, do: (*call).createUploadSession},
		{name: "attachments.get", verb: "GET", path: "U/messages/{message}/attachments/{attachment}", scopes: reads, do: (*call).getAttachment},
		{name: "attachments.bytes", verb: "GET", path: "U/messages/{message}/attachments/{attachment}/$value", scopes: reads, do: (*call).getAttachmentBytes},
		{name: "attachments.delete", verb: "DELETE", path: "U/messages/{message}/attachments/{attachment}", scopes: writes, do: (*call).deleteAttachment},
		{name: "settings.get", verb: "GET", path: "U/mailboxSettings", scopes: settings, do: (*call).getSettings},
		{name: "settings.get", verb: "GET", path: "U/mailboxSettings/{setting}", scopes: settings, do: (*call).getSettings},
		{name: "settings.update", verb: "PATCH", path: "U/mailboxSettings", scopes: colours, do: (*call).patchSettings},
		{name: "categories.list", verb: "GET", path: "U/outlook/masterCategories", scopes: settings, do: (*call).listCategories},
		{name: "categories.create", verb: "POST", path: "U/outlook/masterCategories", scopes: colours, do: (*call).createCategory},
		{name: "categories.get", verb: "GET", path: "U/outlook/masterCategories/{category}", scopes: settings, do: (*call).getCategory},
		{name: "categories.update", verb: "PATCH", path: "U/outlook/masterCategories/{category}", scopes: colours, do: (*call).patchCategory},
		{name: "categories.delete", verb: "DELETE", path: "U/outlook/masterCategories/{category}", scopes: colours, do: (*call).deleteCategory},
		{name: "translateExchangeIds", verb: "POST", path: "U/translateExchangeIds", scopes: profile, do: (*call).translateIDs},
		{name: "subscriptions.list", verb: "GET", path: "subscriptions", scopes: reads, do: (*call).listSubscriptions, beside: true},
		{name: "subscriptions.create", verb: "POST", path: "subscriptions", scopes: reads, do: (*call).createSubscription, beside: true, unlocked: true},
		{name: "subscriptions.get", verb: "GET", path: "subscriptions/{subscription}", scopes: reads, do: (*call).getSubscription, beside: true},
		{name: "subscriptions.update", verb: "PATCH", path: "subscriptions/{subscription}", scopes: reads, do: (*call).patchSubscription, beside: true},
		{name: "subscriptions.delete", verb: "DELETE", path: "subscriptions/{subscription}", scopes: reads, do: (*call).deleteSubscription, beside: true},
		{name: "subscriptions.reauthorize", verb: "POST", path: "subscriptions/{subscription}/reauthorize", scopes: reads, do: (*call).reauthorize, beside: true},
	}
}

// Methods are the names of what this server does.
func Methods() []string {
	var names []string
	for _, m := range methods {
		if !slices.Contains(names, m.name) {
			names = append(names, m.name)
		}
	}
	return append(names, "batch", "upload")
}

// match finds the method of a request, with what stands in the braces of its path. path is below /v1.0.
func match(verb, path string) (*method, map[string]string) {
	segs, ok := segments(path)
	if !ok {
		return nil, nil
	}
	segs = shorten(segs)
	for _, m := range methods {
		if m.verb != verb {
			continue
		}
		if args, ok := m.match(segs); ok {
			return m, args
		}
	}
	return nil, nil
}

func (m *method) match(segs []string) (map[string]string, bool) {
	args := map[string]string{}
	for _, p := range strings.Split(m.path, "/") {
		if p == "U" {
			switch {
			case len(segs) > 0 && strings.EqualFold(segs[0], "me"):
				segs = segs[1:]
			case len(segs) > 1 && strings.EqualFold(segs[0], "users"):
				args["user"], segs = segs[1], segs[2:]
			default:
				return nil, false
			}
			continue
		}
		if len(segs) == 0 {
			return nil, false
		}
		if name, ok := strings.CutPrefix(p, "{"); ok {
			args[strings.TrimSuffix(name, "}")] = segs[0]
		} else if !strings.EqualFold(p, segs[0]) {
			return nil, false
		}
		segs = segs[1:]
	}
	return args, len(segs) == 0
}

// segments cuts a path in its escaped form. Facts 2.4 and 2.7: "mailFolders('inbox')" is "mailFolders/inbox", and delta comes as "delta%28%29".
func segments(path string) ([]string, bool) {
	var out []string
	for _, p := range strings.Split(strings.Trim(path, "/"), "/") {
		p, err := url.PathUnescape(p)
		if err != nil {
			return nil, false
		}
		p = strings.TrimPrefix(p, "microsoft.graph.")
		if name, ok := strings.CutSuffix(p, "()"); ok {
			p = name
		} else if name, key, ok := strings.Cut(p, "('"); ok && strings.HasSuffix(key, "')") {
			out = append(out, name)
			p = strings.ReplaceAll(strings.TrimSuffix(key, "')"), "''", "'")
		}
		out = append(out, p)
	}
	return out, true
}

// shorten takes the folders out of a path that names something in them: ids are the mailbox's.
func shorten(segs []string) []string {
	root := 1
	if len(segs) > 0 && strings.EqualFold(segs[0], "users") {
		root = 2
	}
	at := func(i int, name string) bool { return i < len(segs) && strings.EqualFold(segs[i], name) }
	for at(root, "mailFolders") && at(root+2, "childFolders") && len(segs) > root+3 && !at(root+3, "delta") {
		segs = slices.Delete(slices.Clone(segs), root+1, root+3)
	}
	if at(root, "mailFolders") && at(root+2, "messages") && len(segs) > root+3 && !at(root+3, "delta") {
		segs = slices.Delete(slices.Clone(segs), root, root+2)
	}
	return segs
}

// lacking answers for paths that no method of the table has.
func (c *call) lacking() *response {
	return c.failure(&apiError{status: http.StatusNotImplemented, code: "NotImplemented", message: "graphtest has no " + c.r.Method + " " + c.r.URL.Path})
}
