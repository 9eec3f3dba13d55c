package gmailtest

import "strings"

// Scopes of the API (facts 1.1).
const (
	ScopeModify   = "https://www.googleapis.com/auth/gmail.modify"
	ScopeReadonly = "https://www.googleapis.com/auth/gmail.readonly"
	ScopeSend     = "https://www.googleapis.com/auth/gmail.send"
	ScopeCompose  = "https://www.googleapis.com/auth/gmail.compose"
	ScopeLabels   = "https://www.googleapis.com/auth/gmail.labels"
	ScopeMetadata = "https://www.googleapis.com/auth/gmail.metadata"
	ScopeInsert   = "https://www.googleapis.com/auth/gmail.insert"
	ScopeFull     = "https://mail.google.com/"
	ScopeSettings = "https://www.googleapis.com/auth/gmail.settings.basic"
)

// Sets of scopes, any of which will do. Facts 1.1: "per-method scope lists" of the discovery document, which a test compares.
var (
	toRead     = []string{ScopeFull, ScopeModify, ScopeReadonly, ScopeMetadata}
	toReadBody = []string{ScopeFull, ScopeModify, ScopeReadonly}
	toProfile  = []string{ScopeFull, ScopeModify, ScopeReadonly, ScopeMetadata, ScopeCompose}
	toModify   = []string{ScopeFull, ScopeModify}
	toDelete   = []string{ScopeFull}
	toSend     = []string{ScopeFull, ScopeModify, ScopeCompose, ScopeSend}
	toCompose  = []string{ScopeFull, ScopeModify, ScopeCompose}
	toDrafts   = []string{ScopeFull, ScopeModify, ScopeCompose, ScopeReadonly}
	toInsert   = []string{ScopeFull, ScopeModify, ScopeInsert}
	toLabels   = []string{ScopeFull, ScopeModify, ScopeReadonly, ScopeMetadata, ScopeLabels}
	toLabel    = []string{ScopeFull, ScopeModify, ScopeLabels}
	toSettings = []string{ScopeFull, ScopeModify, ScopeReadonly, ScopeSettings}
)

// method is a row of the API.
type method struct {
	id     string // as in the discovery document, less "gmail.users."
	verb   string
	path   string // below /gmail/v1/users/{userId}
	units  int    // facts 1.6; see Units
	scopes []string
	upload bool // also below /upload and /resumable/upload
	do     func(*call) (any, *apiError)
}

var methods = []method{
	{id: "getProfile", verb: "GET", path: "/profile", units: 1, scopes: toProfile, do: (*call).getProfile},
	{id: "watch", verb: "POST", path: "/watch", units: 100, scopes: toRead, do: (*call).watch},
	{id: "stop", verb: "POST", path: "/stop", units: 50, scopes: toRead, do: (*call).stop},

	{id: "messages.list", verb: "GET", path: "/messages", units: 5, scopes: toRead, do: (*call).listMessages},
	{id: "messages.get", verb: "GET", path: "/messages/{id}", units: 20, scopes: toRead, do: (*call).getMessage},
	{id: "messages.attachments.get", verb: "GET", path: "/messages/{messageId}/attachments/{id}", units: 20, scopes: toReadBody, do: (*call).getAttachment},
	{id: "messages.modify", verb: "POST", path: "/messages/{id}/modify", units: 5, scopes: toModify, do: (*call).modifyMessage},
	{id: "messages.batchModify", verb: "POST", path: "/messages/batchModify", units: 50, scopes: toModify, do: (*call).batchModify},
	{id: "messages.batchDelete", verb: "POST", path: "/messages/batchDelete", units: 50, scopes: toDelete, do: (*call).batchDelete},
	{id: "messages.trash", verb: "POST", path: "/messages/{id}/trash", units: 20, scopes: toModify, do: (*call).trashMessage},
	{id: "messages.untrash", verb: "POST", path: "/messages/{id}/untrash", units: 20, scopes: toModify, do: (*call).untrashMessage}, // as trash
	{id: "messages.delete", verb: "DELETE", path: "/messages/{id}", units: 20, scopes: toDelete, do: (*call).deleteMessage},         // as trash
	{id: "messages.insert", verb: "POST", path: "/messages", units: 25, scopes: toInsert, upload: true, do: (*call).insertMessage},
	{id: "messages.import", verb: "POST", path: "/messages/import", units: 25, scopes: toInsert, upload: true, do: (*call).insertMessage},
	{id: "messages.send", verb: "POST", path: "/messages/send", units: 100, scopes: toSend, upload: true, do: (*call).sendMessage},

	{id: "threads.list", verb: "GET", path: "/threads", units: 10, scopes: toRead, do: (*call).listThreads},
	{id: "threads.get", verb: "GET", path: "/threads/{id}", units: 40, scopes: toRead, do: (*call).getThread},
	{id: "threads.modify", verb: "POST", path: "/threads/{id}/modify", units: 10, scopes: toModify, do: (*call).modifyThread},

	{id: "history.list", verb: "GET", path: "/history", units: 2, scopes: toRead, do: (*call).listHistory},

	{id: "labels.list", verb: "GET", path: "/labels", units: 1, scopes: toLabels, do: (*call).listLabels},
	{id: "labels.get", verb: "GET", path: "/labels/{id}", units: 1, scopes: toLabels, do: (*call).getLabel},
	{id: "labels.create", verb: "POST", path: "/labels", units: 5, scopes: toLabel, do: (*call).createLabel},
	{id: "labels.patch", verb: "PATCH", path: "/labels/{id}", units: 5, scopes: toLabel, do: (*call).changeLabel},
	{id: "labels.update", verb: "PUT", path: "/labels/{id}", units: 5, scopes: toLabel, do: (*call).changeLabel},
	{id: "labels.delete", verb: "DELETE", path: "/labels/{id}", units: 5, scopes: toLabel, do: (*call).deleteLabel},

	{id: "drafts.list", verb: "GET", path: "/drafts", units: 5, scopes: toDrafts, do: (*call).listDrafts},    // as messages.list
	{id: "drafts.get", verb: "GET", path: "/drafts/{id}", units: 20, scopes: toDrafts, do: (*call).getDraft}, // as messages.get
	{id: "drafts.create", verb: "POST", path: "/drafts", units: 10, scopes: toCompose, upload: true, do: (*call).createDraft},
	{id: "drafts.update", verb: "PUT", path: "/drafts/{id}", units: 10, scopes: toCompose, upload: true, do: (*call).updateDraft},
	{id: "drafts.delete", verb: "DELETE", path: "/drafts/{id}", units: 10, scopes: toCompose, do: (*call).deleteDraft},
	{id: "drafts.send", verb: "POST", path: "/drafts/send", units: 100, scopes: toCompose, upload: true, do: (*call).sendDraft},

	{id: "settings.sendAs.list", verb: "GET", path: "/settings/sendAs", units: 1, scopes: toSettings, do: (*call).listSendAs},
	{id: "settings.sendAs.get", verb: "GET", path: "/settings/sendAs/{sendAsEmail}", units: 1, scopes: toSettings, do: (*call).getSendAs},
}

// Units are the quota units that a call of each method costs, by its name in the discovery document. Facts 1.6, as of 2026-05. What they
// don't tell is as the nearest that they do: drafts.list as messages.list, drafts.get as messages.get, drafts.update and drafts.delete as
// drafts.create, untrash and delete as trash, sendAs.list and sendAs.get as labels.list.
func Units() map[string]int {
	out := map[string]int{}
	for _, m := range methods {
		out[m.name()] = m.units
	}
	return out
}

func (m *method) name() string { return "gmail.users." + strings.TrimPrefix(m.id, "gmail.users.") }

// routes makes the server's mux.
func (s *Server) routes() {
	for i := range methods {
		m := &methods[i]
		path := "/gmail/v1/users/{userId}" + m.path
		s.mux.HandleFunc(m.verb+" "+path, s.handle(m, ""))
		if m.upload { // G-disc: mediaUpload
			s.mux.HandleFunc(m.verb+" /upload"+path, s.handle(m, "upload"))
			s.mux.HandleFunc(m.verb+" /resumable/upload"+path, s.handle(m, "upload"))
			for _, verb := range []string{"PUT ", "POST "} { // the Go client posts
				s.mux.HandleFunc(verb+"/upload-sessions/{session}/"+m.id+"/users/{userId}"+m.path, s.handle(m, "session"))
			}
		}
	}
	s.mux.HandleFunc("/gmail/v1/", s.lacking)
	s.mux.HandleFunc("POST /batch/gmail/v1", s.serveBatch)
	s.routeOAuth()
}
