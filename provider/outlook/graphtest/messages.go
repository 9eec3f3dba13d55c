package graphtest

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// pathMessage is the message in the path of a call, by either of its ids (facts 2.3).
func (c *call) pathMessage() (*mail, *apiError) {
	id := c.args["message"]
	if m := c.user.byID[id]; m != nil && !m.hidden {
		return m, nil
	}
	if !strings.HasPrefix(id, "AA") {
		return nil, malformed()
	}
	return nil, notFound()
}

// listMessages lists the messages of the mailbox or of a folder. Facts 8: "listings can end early or skip items when paged by nextLink or $skip".
func (c *call) listMessages() (*reply, *apiError) {
	u := c.user
	all := u.order
	if _, named := c.args["folder"]; named {
		f, e := c.pathFolder()
		if e != nil {
			return nil, e
		}
		all = f.order
	}
	show, e := c.shown(true)
	if e != nil {
		return nil, e
	}
	n, e := c.pageSize(10)
	if e != nil {
		return nil, e
	}
	skip, e := c.skip()
	if e != nil {
		return nil, e
	}
	found, e := c.matching(all)
	if e != nil {
		return nil, e
	}
	if k := c.s.odd.skipEvery; k > 0 && skip > 0 {
		found = everyBut(found, k)
	}
	vs := []any{}
	for _, m := range found[min(skip, len(found)):min(skip+n, len(found))] {
		vs = append(vs, show(m))
	}
	out := map[string]any{"@odata.context": c.context("messages"), "value": vs}
	if strings.EqualFold(c.query.Get("$count"), "true") {
		out["@odata.count"] = len(found)
	}
	if end := c.s.odd.endAfter; skip+n < len(found) && (end == 0 || skip+n < end) {
		out["@odata.nextLink"] = c.skipTo(skip + n)
	}
	return ok(out), nil
}

// everyBut leaves out every nth.
func everyBut(ms []*mail, n int) []*mail {
	out := make([]*mail, 0, len(ms))
	for i, m := range ms {
		if (i+1)%n != 0 {
			out = append(out, m)
		}
	}
	return out
}

// matching is what $filter, $search and $orderby make of messages that are newest first.
func (c *call) matching(all []*mail) ([]*mail, *apiError) {
	f, e := parseFilter(c.query.Get("$filter"))
	if e != nil {
		return nil, e
	}
	less, e := parseOrder(c.query.Get("$orderby"), f)
	if e != nil {
		return nil, e
	}
	if v := c.query.Get("$search"); v != "" {
		if f != nil || c.query.Get("$orderby") != "" { // from memory
			return nil, badRequest("SearchWithFilter", "The query parameter '$filter' or '$orderBy' is not supported with '$search'.")
		}
		if f, e = parseSearch(v); e != nil {
			return nil, e
		}
	}
	var out []*mail
	if f == nil {
		out = slices.Clone(all)
	} else if id, ok := f.messageID(); ok { // what apps look mail up by, in a mailbox of any size
		for _, m := range c.user.byHeader[id] {
			if f.holds(m) && index(all, m) < len(all) && all[index(all, m)] == m {
				out = append(out, m)
			}
		}
	} else {
		for _, m := range f.within(all) {
			if f.holds(m) {
				out = append(out, m)
			}
		}
	}
	out = slices.DeleteFunc(out, func(m *mail) bool { return m.hidden })
	if less != nil {
		slices.SortStableFunc(out, less)
	}
	return out, nil
}

// shown says how a call's messages are shown, by $select and $expand.
func (c *call) shown(listing bool) (func(*mail) map[string]any, *apiError) {
	return c.shownAs(c.query.Get("$select"), c.query.Get("$expand"), listing)
}

func (c *call) shownAs(sel, expand string, listing bool) (func(*mail) map[string]any, *apiError) {
	selected, e := selectedProperties(sel)
	if e != nil {
		return nil, e
	}
	files, extended := "", ""
	haveFiles := false
	for _, item := range splitExpand(expand) {
		name, options, _ := strings.Cut(item, "(")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "attachments":
			files, haveFiles = options, true
		case "singlevalueextendedproperties":
			extended = options
		case "extensions", "multivalueextendedproperties":
		default:
			return nil, badRequest("RequestBroker--ParseUri", "Could not find a property named '%s' on type 'Microsoft.OutlookServices.Message'.", name)
		}
	}
	if listing && c.s.opts.NoHeadersInListings {
		extended = ""
	}
	var of []string
	if m := nestedSelect.FindStringSubmatch(files); m != nil {
		if of, e = fileFields(strings.Split(m[1], ",")); e != nil {
			return nil, e
		}
	}
	return func(m *mail) map[string]any {
		v := c.message(m, selected)
		if haveFiles {
			fs := []any{}
			for _, f := range c.s.attachments(m) {
				fs = append(fs, pick(c.wireFile(f, true), of))
			}
			v["attachments"] = fs
		}
		if extended != "" {
			if p := m.extended(extended); p != nil {
				v["singleValueExtendedProperties"] = p
			}
		}
		return v
	}, nil
}

var nestedSelect = regexp.MustCompile(`(?i)\$select=([A-Za-z0-9_,@./ ]+)`)

// splitExpand cuts an $expand at the commas that are in no parentheses and no text.
func splitExpand(v string) []string {
	var out []string
	depth, from, quoted := 0, 0, false
	for i := range len(v) {
		switch {
		case v[i] == '\'':
			quoted = !quoted
		case quoted:
		case v[i] == '(':
			depth++
		case v[i] == ')':
			depth--
		case v[i] == ',' && depth == 0:
			out = append(out, v[from:i])
			from = i + 1
		}
	}
	if strings.TrimSpace(v[from:]) != "" {
		out = append(out, v[from:])
	}
	return out
}

// getMessage is one message.
func (c *call) getMessage() (*reply, *apiError) {
	m, e := c.pathMessage()
	if e != nil {
		return nil, e
	}
	show, e := c.shown(false)
	if e != nil {
		return nil, e
	}
	return c.entity(http.StatusOK, show(m)), nil
}

func (c *call) entity(status int, v map[string]any) *reply {
	v["@odata.context"] = c.context("messages/$entity")
	h := http.Header{}
	if tag, ok := v["@odata.etag"].(string); ok {
		h.Set("Etag", tag)
	}
	return &reply{status: status, v: v, header: h}
}

// getMIME is a whole message (facts 2.3).
func (c *call) getMIME() (*reply, *apiError) {
	m, e := c.pathMessage()
	if e != nil {
		return nil, e
	}
	return &reply{status: http.StatusOK, raw: m.mime(), kind: "text/plain"}, nil
}

// destination is the folder that a body names.
func (c *call) destination() (*folder, *apiError) {
	var in struct {
		DestinationID *string `json:"destinationId"`
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if in.DestinationID == nil || *in.DestinationID == "" {
		return nil, badRequest("ErrorInvalidRequest", "DestinationId is missing.")
	}
	f := c.user.folder(*in.DestinationID)
	if f == nil {
		return nil, c.noFolder(*in.DestinationID)
	}
	return f, nil
}

// moveMessage moves a message. Facts 2.3: it "creates a copy and returns it: the default id changes".
func (c *call) moveMessage() (*reply, *apiError) {
	m, e := c.pathMessage()
	if e != nil {
		return nil, e
	}
	f, e := c.destination()
	if e != nil {
		return nil, e
	}
	c.user.move(m, f)
	return c.entity(http.StatusCreated, c.message(m, byDefault)), nil
}

// listAttachments lists those of a message, with their bytes (from memory).
func (c *call) listAttachments() (*reply, *apiError) {
	m, e := c.pathMessage()
	if e != nil {
		return nil, e
	}
	of, e := fileFields(c.selected())
	if e != nil {
		return nil, e
	}
	vs := []any{}
	for _, f := range c.s.attachments(m) {
		vs = append(vs, pick(c.wireFile(f, true), of))
	}
	return ok(map[string]any{"@odata.context": c.context("messages('" + c.id(m) + "')/attachments"), "value": vs}), nil
}

func (c *call) pathFile() (*file, *apiError) {
	m, e := c.pathMessage()
	if e != nil {
		return nil, e
	}
	for _, f := range c.s.attachments(m) {
		if f.id == c.args["attachment"] {
			return f, nil
		}
	}
	return nil, notFound()
}

// getAttachment is one, with its bytes; of a message in a message what is known of it where it is expanded.
func (c *call) getAttachment() (*reply, *apiError) {
	f, e := c.pathFile()
	if e != nil {
		return nil, e
	}
	v := c.wireFile(f, true)
	if f.item && strings.Contains(strings.ToLower(c.query.Get("$expand")), "itemattachment/item") {
		in := newMail(f.data, f.modified)
		in.folder, in.immutable, in.id = &folder{}, strings.Repeat("A", 40), ""
		item := c.message(in, []string{"subject", "body", "from", "sender", "toRecipients", "ccRecipients", "internetMessageId", "sentDateTime"})
		item["@odata.type"] = "#microsoft.graph.message"
		v["item"] = item
	}
	of, e := fileFields(c.selected())
	if e != nil {
		return nil, e
	}
	return ok(pick(v, of)), nil
}

// fileFields are the properties of attachments that a $select names. What only files have must be named by their type (seen in practice,
// microsoftgraph/microsoft-graph-explorer-v4 #3916).
func fileFields(selected []string) (out []string, e *apiError) {
	for _, n := range selected {
		n = strings.TrimSpace(n)
		if of, name, cast := strings.Cut(n, "/"); cast && anyCase([]string{"microsoft.graph.fileAttachment", "microsoft.graph.itemAttachment"}, of) {
			n = name
		} else if !anyCase([]string{"id", "name", "contentType", "size", "isInline", "lastModifiedDateTime"}, n) {
			return nil, badRequest("RequestBroker--ParseUri", "Could not find a property named '%s' on type 'microsoft.graph.attachment'.", n)
		}
		out = append(out, n)
	}
	return out, nil
}

// getAttachmentBytes is what is in one.
func (c *call) getAttachmentBytes() (*reply, *apiError) {
	f, e := c.pathFile()
	if e != nil {
		return nil, e
	}
	kind := f.kind
	if f.item {
		kind = "text/plain"
	}
	return &reply{status: http.StatusOK, raw: f.data, kind: kind}, nil
}

// fields reads an object whose members are wanted one by one. Annotations are no members.
func (c *call) fields() (map[string]json.RawMessage, *apiError) {
	var in map[string]json.RawMessage
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	for k := range in {
		if strings.Contains(k, "@odata.") {
			delete(in, k)
		}
	}
	return in, nil
}
