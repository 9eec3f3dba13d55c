package graphtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Facts 2.6: what an attachment may measure that comes in one request, and in pieces; and a piece.
const (
	maxDirect = 3 << 20
	maxFile   = 150 << 20
	maxPiece  = 4 << 20
)

// sessionLife is how long an upload may take (from memory).
const sessionLife = 2 * time.Hour

// upload is an attachment on its way.
type upload struct {
	user    *User
	app     string
	mail    *mail
	file    *file
	size    int
	secret  string
	expires time.Time
}

// readFile reads an attachment that comes as JSON. That it has less than 3 MB is seen to by what a request may measure.
func (c *call) readFile(raw json.RawMessage) (*file, *apiError) {
	var in struct {
		Type         string `json:"@odata.type"`
		Name         *string
		ContentType  *string
		ContentBytes *string
		ContentID    *string `json:"contentId"`
		IsInline     bool
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, badRequest("RequestBodyRead", "Cannot read the attachment. %v", err)
	}
	if t := strings.TrimPrefix(in.Type, "#"); t != "microsoft.graph.fileAttachment" {
		return nil, badRequest("ErrorInvalidRequest", "graphtest takes microsoft.graph.fileAttachment, not '%s'.", in.Type)
	}
	if in.Name == nil || in.ContentBytes == nil {
		return nil, badRequest("ErrorInvalidRequest", "An attachment needs a name and contentBytes.")
	}
	data, err := base64.StdEncoding.DecodeString(*in.ContentBytes)
	if err != nil {
		return nil, badRequest("RequestBodyRead", "Cannot convert the value of contentBytes to Edm.Binary.")
	}
	f := &file{name: *in.Name, kind: "application/octet-stream", inline: in.IsInline, data: data, modified: c.s.now().UTC().Truncate(time.Second)}
	if in.ContentType != nil {
		f.kind = *in.ContentType
	}
	if in.ContentID != nil {
		f.contentID = *in.ContentID
	}
	return f, nil
}

// pathDraft is a draft in the path of a call.
func (c *call) pathDraft() (*mail, *apiError) {
	m, e := c.pathMessage()
	if e == nil && !m.draft {
		return nil, badRequest("ErrorInvalidRequest", "The message is no draft.") // facts 2.6: "on a DRAFT"
	}
	return m, e
}

// addAttachment adds one to a draft.
func (c *call) addAttachment() (*reply, *apiError) {
	m, e := c.pathDraft()
	if e != nil {
		return nil, e
	}
	f, e := c.readFile(c.body)
	if e != nil {
		return nil, e
	}
	c.user.attach(m, f)
	v := c.wireFile(f, true)
	v["@odata.context"] = c.context("messages('" + c.id(m) + "')/attachments/$entity")
	return created(v), nil
}

func (u *User) attach(m *mail, f *file) {
	m.unpack()
	f.id = u.s.fileID(m, f)
	m.files = append(m.files, f)
	u.touch(m, "hasAttachments")
}

// deleteAttachment takes one off a draft.
func (c *call) deleteAttachment() (*reply, *apiError) {
	m, e := c.pathDraft()
	if e != nil {
		return nil, e
	}
	f, e := c.pathFile()
	if e != nil {
		return nil, e
	}
	m.unpack()
	for i, o := range m.files {
		if o == f {
			m.files = append(m.files[:i:i], m.files[i+1:]...)
			break
		}
	}
	c.user.touch(m, "hasAttachments")
	return noContent, nil
}

// createUploadSession begins an upload. Facts 2.6: 3-150 MB, to another host, without the token.
func (c *call) createUploadSession() (*reply, *apiError) {
	s := c.s
	m, e := c.pathDraft()
	if e != nil {
		return nil, e
	}
	var in struct {
		AttachmentItem *struct {
			AttachmentType, Name, ContentType string
			ContentID                         string `json:"contentId"`
			IsInline                          bool
			Size                              int
		}
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	a := in.AttachmentItem
	switch {
	case a == nil || a.Name == "" || !strings.EqualFold(a.AttachmentType, "file"):
		return nil, badRequest("ErrorInvalidRequest", "AttachmentItem needs attachmentType file, a name and a size.")
	case a.Size < maxDirect: // from memory
		return nil, badRequest("ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", "The attachment size should not be less than the minimum size.")
	case a.Size > maxFile:
		return nil, &apiError{status: http.StatusRequestEntityTooLarge, code: "ErrorAttachmentSizeLimitExceeded", message: "The size of the attachment exceeds the limit of 150 MB."}
	}
	kind := a.ContentType
	if kind == "" {
		kind = "application/octet-stream"
	}
	id := s.guid("session", s.next())
	u := &upload{user: c.user, app: c.token.app, mail: m, size: a.Size, secret: s.mint("eyJ"), expires: s.now().Add(sessionLife),
		file: &file{name: a.Name, kind: kind, inline: a.IsInline, contentID: a.ContentID}}
	s.uploads[id] = u
	at := s.outlook + "/api/v2.0/Users('" + c.user.OID + "@" + c.user.Tenant + "')/Messages('" + url.PathEscape(c.id(m)) + "')/AttachmentSessions('" + id + "')?authtoken=" + u.secret
	v := u.state()
	v["@odata.context"] = s.base + "/v1.0/$metadata#microsoft.graph.uploadSession"
	v["uploadUrl"] = at
	return created(v), nil
}

// state is what is expected next.
func (u *upload) state() map[string]any {
	next := fmt.Sprint(len(u.file.data)) // from memory: of mail the place alone
	if len(u.file.data) == 0 {
		next = "0-"
	}
	return map[string]any{"@odata.type": "#microsoft.graph.uploadSession", "expirationDateTime": wireTime(u.expires), "nextExpectedRanges": []string{next}}
}

var (
	sessionForm = regexp.MustCompile(`/AttachmentSessions\('([^']+)'\)$`)
	rangeForm   = regexp.MustCompile(`^bytes (\d+)-(\d+)/(\d+)$`)
)

// serveUpload takes the pieces of an attachment. Facts 2.6: "PUT ranges <=4 MB in order, NO Authorization header, … final 201 + Location".
func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) {
	c := &call{s: s, r: r, m: &method{name: "upload"}}
	f := c.begin()
	var res *response
	defer func() { c.log(res) }()
	if f.answersFirst() {
		f.reach(r)
		res = f.response(c)
		s.answer(w, r, res)
		return
	}
	piece, err := io.ReadAll(io.LimitReader(r.Body, maxPiece+1))
	if err != nil {
		panic(http.ErrAbortHandler) // the caller went away
	}
	if !f.After {
		f.reach(r)
	}
	s.mu.Lock()
	rep, e := c.takePiece(piece)
	if e != nil {
		res = c.failure(e)
	} else {
		res = &response{status: rep.status, header: http.Header{}}
		for k, v := range rep.header {
			res.header[k] = v
		}
		if rep.v != nil {
			res.header.Set("Content-Type", jsonType)
			if res.body, err = json.Marshal(rep.v); err != nil {
				panic(err) // our own maps
			}
		}
	}
	s.mu.Unlock()
	if f.After {
		f.reach(r)
		if f.Cut || f.Status != 0 {
			res = f.response(c)
		}
	}
	s.flush()
	s.answer(w, r, res)
}

func (c *call) takePiece(piece []byte) (*reply, *apiError) {
	s, r := c.s, c.r
	form := sessionForm.FindStringSubmatch(r.URL.Path)
	var u *upload
	if form != nil {
		u = s.uploads[form[1]]
	}
	switch {
	case r.Header.Get("Authorization") != "":
		return nil, &apiError{status: http.StatusUnauthorized, code: "InvalidAuthenticationToken", message: "The upload address needs no token and takes none."}
	case u == nil || r.URL.Query().Get("authtoken") != u.secret || !s.now().Before(u.expires) || u.user.byID[u.mail.immutable] == nil:
		return nil, &apiError{status: http.StatusNotFound, code: "ErrorItemNotFound", message: "The upload session is not found."}
	}
	if l := c.entry(); l != nil {
		l.User = u.user.Address
	}
	switch r.Method {
	case http.MethodGet:
		return ok(u.state()), nil
	case http.MethodDelete:
		delete(s.uploads, form[1])
		return noContent, nil
	case http.MethodPut:
	default:
		return nil, &apiError{status: http.StatusMethodNotAllowed, code: "ErrorInvalidRequest", message: "PUT, please."}
	}
	span := rangeForm.FindStringSubmatch(r.Header.Get("Content-Range"))
	if span == nil {
		return nil, badRequest("ErrorInvalidRequest", "Content-Range is missing or broken.")
	}
	n := [3]int{}
	for i := range n {
		var err error
		if n[i], err = strconv.Atoi(span[i+1]); err != nil {
			return nil, badRequest("ErrorInvalidRequest", "Content-Range is broken.")
		}
	}
	switch {
	case len(piece) > maxPiece:
		return nil, &apiError{status: http.StatusRequestEntityTooLarge, code: "ErrorInvalidRequest", message: "A piece may have 4 MB."}
	case n[2] != u.size || n[1]-n[0]+1 != len(piece) || n[1] >= n[2]:
		return nil, badRequest("ErrorInvalidRequest", "Content-Range does not fit the piece or the attachment.")
	case n[0] != len(u.file.data):
		return nil, &apiError{status: http.StatusRequestedRangeNotSatisfiable, code: "ErrorInvalidRange", message: "The range is not the next one."}
	}
	if e := s.upload(s.meter(u.app, u.user), len(piece)); e != nil {
		return nil, e
	}
	u.file.data = append(u.file.data, piece...)
	if len(u.file.data) < u.size {
		return ok(u.state()), nil
	}
	delete(s.uploads, form[1])
	u.file.modified = s.now().UTC().Truncate(time.Second)
	u.user.attach(u.mail, u.file)
	at := strings.TrimSuffix(r.URL.Path, form[0]) + "/Attachments('" + u.file.id + "')"
	return &reply{status: http.StatusCreated, header: http.Header{"Location": {s.outlook + at}}}, nil
}
