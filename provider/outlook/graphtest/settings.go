package graphtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// category is a category of the master list.
type category struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	Color       string `json:"color"`
}

func defaultSettings() map[string]any {
	return map[string]any{
		"automaticRepliesSetting": map[string]any{
			"status": "disabled", "externalAudience": "all", "internalReplyMessage": "", "externalReplyMessage": "",
			"scheduledStartDateTime": map[string]string{"dateTime": "2026-03-10T12:00:00.0000000", "timeZone": "UTC"},
			"scheduledEndDateTime":   map[string]string{"dateTime": "2026-03-11T12:00:00.0000000", "timeZone": "UTC"},
		},
		"timeZone": "UTC", "language": map[string]string{"locale": "en-US", "displayName": "English (United States)"}, "dateFormat": "M/d/yyyy", "timeFormat": "h:mm tt",
		"delegateMeetingMessageDeliveryOptions": "sendToDelegateOnly", "userPurpose": "user",
	}
}

// SetAutoReply is a person who switches automatic replies on or off: "disabled", "alwaysEnabled" or "scheduled" (facts 2.3).
func (u *User) SetAutoReply(status string) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.settings["automaticRepliesSetting"].(map[string]any)["status"] = status
}

// getSettings are the mailbox's settings, or one of them.
func (c *call) getSettings() (*reply, *apiError) {
	if name, one := c.args["setting"]; one {
		for k, v := range c.user.settings {
			if !strings.EqualFold(k, name) {
				continue
			}
			out := map[string]any{"@odata.context": c.context("mailboxSettings/" + k)}
			if m, ok := v.(map[string]any); ok {
				for k, v := range m {
					out[k] = v
				}
			} else {
				out["value"] = v
			}
			return ok(out), nil
		}
		return nil, badRequest("RequestBroker--ParseUri", "Resource not found for the segment '%s'.", name)
	}
	out := map[string]any{"@odata.context": c.context("mailboxSettings")}
	for k, v := range c.user.settings {
		out[k] = v
	}
	return ok(pick(out, c.selected())), nil
}

// patchSettings changes some.
func (c *call) patchSettings() (*reply, *apiError) {
	in, e := c.fields()
	if e != nil {
		return nil, e
	}
	for k, raw := range in {
		old, known := c.user.settings[k]
		if !known {
			return nil, badRequest("RequestBodyRead", "The property '%s' does not exist on type 'microsoft.graph.mailboxSettings'.", k)
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, badRequest("RequestBodyRead", "Cannot read '%s'.", k)
		}
		if o, ok := old.(map[string]any); ok {
			n, ok := v.(map[string]any)
			if !ok {
				return nil, badRequest("RequestBodyRead", "Cannot read '%s'.", k)
			}
			for k, v := range n {
				o[k] = v
			}
			continue
		}
		c.user.settings[k] = v
	}
	return c.getSettings()
}

// Categories returns the names and colours of the master list.
func (u *User) Categories() map[string]string {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	out := map[string]string{}
	for _, c := range u.master {
		out[c.DisplayName] = c.Color
	}
	return out
}

// listCategories is the master list.
func (c *call) listCategories() (*reply, *apiError) {
	cs := c.user.master
	if cs == nil {
		cs = []category{}
	}
	return ok(map[string]any{"@odata.context": c.context("outlook/masterCategories"), "value": cs}), nil
}

func validColor(v string) bool {
	n, preset := strings.CutPrefix(strings.ToLower(v), "preset")
	return strings.EqualFold(v, "none") || preset && n != "" && len(n) < 3 && strings.Trim(n, "0123456789") == "" && (len(n) == 1 || n < "25")
}

// createCategory adds one. From memory: a name that is there is 409.
func (c *call) createCategory() (*reply, *apiError) {
	n := category{Color: "none"}
	if e := c.decode(&n); e != nil {
		return nil, e
	}
	switch {
	case n.DisplayName == "" || !validColor(n.Color):
		return nil, badRequest("ErrorInvalidRequest", "A category needs a displayName, and a color of none or preset0 to preset24.")
	case slices.ContainsFunc(c.user.master, func(o category) bool { return strings.EqualFold(o.DisplayName, n.DisplayName) }):
		return nil, &apiError{status: http.StatusConflict, code: "CategoryNameAlreadyExists", message: "A category with this name exists."}
	}
	n.ID = c.s.guid("category", c.s.next())
	c.user.master = append(c.user.master, n)
	return created(c.wireCategory(n)), nil
}

func (c *call) wireCategory(n category) map[string]any {
	return map[string]any{"@odata.context": c.context("outlook/masterCategories/$entity"), "id": n.ID, "displayName": n.DisplayName, "color": n.Color}
}

func (c *call) pathCategory() (*category, *apiError) {
	for i := range c.user.master {
		if c.user.master[i].ID == c.args["category"] {
			return &c.user.master[i], nil
		}
	}
	return nil, notFound()
}

// getCategory, patchCategory (its colour, not its name) and deleteCategory.
func (c *call) getCategory() (*reply, *apiError) {
	n, e := c.pathCategory()
	if e != nil {
		return nil, e
	}
	return ok(c.wireCategory(*n)), nil
}

func (c *call) patchCategory() (*reply, *apiError) {
	n, e := c.pathCategory()
	if e != nil {
		return nil, e
	}
	in := category{Color: n.Color}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if in.DisplayName != "" && in.DisplayName != n.DisplayName || !validColor(in.Color) {
		return nil, badRequest("ErrorInvalidRequest", "Only the color can be changed.")
	}
	n.Color = in.Color
	return ok(c.wireCategory(*n)), nil
}

func (c *call) deleteCategory() (*reply, *apiError) {
	n, e := c.pathCategory()
	if e != nil {
		return nil, e
	}
	id := n.ID
	c.user.master = slices.DeleteFunc(c.user.master, func(o category) bool { return o.ID == id })
	return noContent, nil
}

// translateIDs turns ids into those of the other form. Facts 2.3: at most 1,000 a call.
func (c *call) translateIDs() (*reply, *apiError) {
	var in struct {
		InputIDs                   []string `json:"inputIds"`
		SourceIDType, TargetIDType string
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	known := []string{"restid", "restimmutableentryid"}
	if len(in.InputIDs) > 1000 || !slices.Contains(known, strings.ToLower(in.SourceIDType)) || !slices.Contains(known, strings.ToLower(in.TargetIDType)) {
		return nil, badRequest("ErrorInvalidRequest", "At most 1,000 ids, of restId or restImmutableEntryId.")
	}
	vs := []any{}
	for _, id := range in.InputIDs {
		m := c.user.byID[id]
		if m == nil {
			vs = append(vs, map[string]any{"sourceId": id, "targetId": nil, "errorDetails": map[string]string{"code": "ErrorItemNotFound", "message": notFound().message}})
			continue
		}
		to := m.id
		if strings.EqualFold(in.TargetIDType, known[1]) {
			to = m.immutable
		}
		vs = append(vs, map[string]any{"sourceId": id, "targetId": to})
	}
	return ok(map[string]any{"@odata.context": c.context("translateExchangeIds"), "value": vs}), nil
}
