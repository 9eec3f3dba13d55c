package graphtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/internal/fakehttp"
)

// Facts 2.4: a subscription lives 45 minutes at least, a mailbox has at most 1,000 of all apps, and clientState has at most 128 characters.
const (
	minSubscription  = 45 * time.Minute
	maxSubscriptions = 1000
	maxClientState   = 128
	handshakeTime    = 10 * time.Second
)

// subscription is one to the messages of a mailbox or of a folder.
type subscription struct {
	id, app, resource, changes string
	user                       *User
	folder                     *folder // nil: the mailbox
	state                      string  // clientState
	notify, lifecycle          string  // addresses
	expires                    time.Time
	immutable                  bool
	lapsed                     bool // the token it was made with did (facts 2.4), until it is reauthorized
}

// Subscription is a subscription as it stands.
type Subscription struct {
	ID, User, Resource string
	ChangeType         string
	ClientState        string
	NotificationURL    string
	LifecycleURL       string
	Expires            time.Time
	Immutable          bool // it was created with the header and delivers immutable ids
	Lapsed             bool // it delivers nothing until it is reauthorized
}

// Subscriptions returns those of a user's mailbox.
func (u *User) Subscriptions() []Subscription {
	s := u.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	var out []Subscription
	for _, o := range s.hooks.subs {
		if o.user == u {
			out = append(out, Subscription{o.id, u.Address, o.resource, o.changes, o.state, o.notify, o.lifecycle, o.expires, o.immutable, o.lapsed})
		}
	}
	return out
}

func (o *subscription) wire() map[string]any {
	v := map[string]any{
		"id": o.id, "resource": o.resource, "applicationId": o.app, "changeType": o.changes, "clientState": o.state, "notificationUrl": o.notify,
		"lifecycleNotificationUrl": o.lifecycle, "expirationDateTime": o.expires.UTC().Format("2006-01-02T15:04:05.0000000Z"), "creatorId": o.user.OID,
		"latestSupportedTlsVersion": "v1_2", "includeResourceData": nil, "notificationQueryOptions": nil, "encryptionCertificate": nil, "encryptionCertificateId": nil,
	}
	if o.lifecycle == "" {
		v["lifecycleNotificationUrl"] = nil
	}
	if o.state == "" {
		v["clientState"] = nil
	}
	return v
}

func (c *call) invalidSubscription(format string, a ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, code: "ValidationError", message: fmt.Sprintf(format, a...)}
}

// createSubscription makes one once the address answered. Facts 2.4: the call "blocks on this".
func (c *call) createSubscription() (*reply, *apiError) {
	s := c.s
	var in struct {
		ChangeType, NotificationURL, LifecycleNotificationURL, Resource, ClientState, ExpirationDateTime string
		IncludeResourceData                                                                              *bool
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	s.mu.Lock()
	o, e := c.newSubscription(in.ChangeType, in.Resource, in.ExpirationDateTime)
	s.mu.Unlock()
	if e != nil {
		return nil, e
	}
	if in.IncludeResourceData != nil && *in.IncludeResourceData {
		return nil, c.invalidSubscription("graphtest has no notifications with resource data.")
	}
	if len(in.ClientState) > maxClientState {
		return nil, c.invalidSubscription("clientState must not have more than %d characters.", maxClientState)
	}
	o.state, o.notify, o.lifecycle = in.ClientState, in.NotificationURL, in.LifecycleNotificationURL
	for _, at := range []string{o.notify, o.lifecycle} {
		if at == "" && at != o.notify {
			continue
		}
		if !s.callable(at) {
			return nil, c.invalidSubscription("The notification URL must start with 'https' and be absolute: '%s'.", at)
		}
	}
	for _, at := range []string{o.notify, o.lifecycle} {
		if at == "" {
			continue
		}
		if why := s.shakeHands(c.r.Context(), at); why != "" {
			return nil, c.invalidSubscription("Subscription validation request failed. %s", why)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, x := range s.hooks.subs {
		if x.user == c.user {
			n++
		}
	}
	if n >= maxSubscriptions {
		return nil, &apiError{status: http.StatusForbidden, code: "ExtensionError", message: "Operation: Create; Exception: [Status Code: Forbidden; Reason: The subscription limit of the mailbox is reached.]"}
	}
	o.id = s.guid("subscription", s.next())
	s.hooks.subs = append(s.hooks.subs, o)
	v := o.wire()
	v["@odata.context"] = s.base + "/v1.0/$metadata#subscriptions/$entity"
	return created(v), nil
}

// newSubscription reads what is subscribed to.
func (c *call) newSubscription(changes, resource, expires string) (*subscription, *apiError) {
	o := &subscription{app: c.token.app, user: c.user, resource: resource, changes: changes, immutable: c.prefer.immutable} // facts 2.3: "CREATED with the header"
	for _, t := range strings.Split(changes, ",") {
		if !slices.Contains([]string{"created", "updated", "deleted"}, strings.ToLower(strings.TrimSpace(t))) {
			return nil, c.invalidSubscription("changeType '%s' is not supported.", changes)
		}
	}
	path, _, _ := strings.Cut(resource, "?")
	segs, ok := segments(path)
	switch {
	case ok && len(segs) > 1 && strings.EqualFold(segs[0], "me"):
		segs = segs[1:]
	case ok && len(segs) > 2 && strings.EqualFold(segs[0], "users"):
		if !c.user.is(segs[1]) { // facts 2.4: "only covers the signed-in user's own mailbox"
			return nil, denied()
		}
		segs = segs[2:]
	default:
		return nil, c.invalidSubscription("Resource '%s' is not supported.", resource)
	}
	switch {
	case len(segs) == 1 && strings.EqualFold(segs[0], "messages"):
	case len(segs) == 3 && strings.EqualFold(segs[0], "mailFolders") && strings.EqualFold(segs[2], "messages"):
		if o.folder = c.user.folder(segs[1]); o.folder == nil {
			return nil, c.noFolder(segs[1])
		}
	default:
		return nil, c.invalidSubscription("Resource '%s' is not supported.", resource)
	}
	var e *apiError
	o.expires, e = c.expiration(expires)
	return o, e
}

// expiration reads when a subscription is to end. Facts 2.4: within 10,080 minutes (Options.SubscriptionLife), "values under 45 min are raised to 45".
func (c *call) expiration(v string) (time.Time, *apiError) {
	at, err := time.Parse(time.RFC3339, v)
	now := c.s.now()
	switch life := c.s.opts.SubscriptionLife; {
	case err != nil:
		return at, c.invalidSubscription("expirationDateTime is missing or broken.")
	case !at.After(now):
		return at, c.invalidSubscription("Subscription expiration must be in the future.")
	case at.Sub(now) > life:
		return at, c.invalidSubscription("Subscription expiration can only be %d minutes in the future.", int(life/time.Minute))
	case at.Sub(now) < minSubscription:
		at = now.Add(minSubscription)
	}
	return at.UTC(), nil
}

// shakeHands asks an address whether it wants notifications; why is what was wrong. Facts 2.4: POST with ?validationToken=, within 10 s 200,
// text/plain, "body = URL-DECODED token and nothing else".
func (s *Server) shakeHands(ctx context.Context, at string) (why string) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	s.mu.Lock()
	token := "Validation: Testing client application reachability for subscription Request-Id: " + s.guid("validation", s.next())
	s.mu.Unlock()
	sep := "?"
	if strings.Contains(at, "?") {
		sep = "&"
	}
	status, header, body, err := s.post(ctx, at+sep+"validationToken="+url.QueryEscape(token), "text/plain; charset=utf-8", nil)
	switch {
	case err != nil:
		return "The request failed or timed out."
	case status != http.StatusOK:
		return fmt.Sprintf("Response must be 200, was %d.", status)
	case !strings.HasPrefix(header.Get("Content-Type"), "text/plain"):
		return "Response must have content type text/plain."
	case string(body) != token:
		return "The response must be the validation token."
	}
	return ""
}

// post calls an app's address, in memory where Webhook says so.
func (s *Server) post(ctx context.Context, at, kind string, body []byte) (status int, header http.Header, answer []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	r.Header.Set("Content-Type", kind)
	c := s.hookClient()
	if h := s.handler(at); h != nil {
		c = fakehttp.Transport{Handler: h}.Client()
	}
	resp, err := c.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, resp.Header, answer, err
}

// callable is https, or a loopback address (of Server.Listen's tests).
func (s *Server) callable(at string) bool {
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && slices.Contains([]string{"127.0.0.1", "localhost", "::1"}, u.Hostname())
}

// pathSubscription is one of the app's and the user's. Facts 2.4: "Renewal after expiry -> 404".
func (c *call) pathSubscription() (*subscription, *apiError) {
	for _, o := range c.s.hooks.subs {
		if o.id == c.args["subscription"] && o.user == c.user && o.app == c.token.app {
			return o, nil
		}
	}
	return nil, &apiError{status: http.StatusNotFound, code: "ResourceNotFound", message: "The object was not found."}
}

func (c *call) getSubscription() (*reply, *apiError) {
	o, e := c.pathSubscription()
	if e != nil {
		return nil, e
	}
	return ok(o.wire()), nil
}

func (c *call) listSubscriptions() (*reply, *apiError) {
	vs := []any{}
	for _, o := range c.s.hooks.subs {
		if o.user == c.user && o.app == c.token.app {
			v := o.wire()
			v["clientState"] = nil // from memory
			vs = append(vs, v)
		}
	}
	return ok(map[string]any{"@odata.context": c.s.base + "/v1.0/$metadata#subscriptions", "value": vs}), nil
}

// patchSubscription renews one; with that it is reauthorized (facts 2.4).
func (c *call) patchSubscription() (*reply, *apiError) {
	o, e := c.pathSubscription()
	if e != nil {
		return nil, e
	}
	in, e := c.fields()
	if e != nil {
		return nil, e
	}
	for _, k := range slices.Sorted(maps.Keys(in)) {
		if k != "expirationDateTime" && k != "notificationUrl" { // facts 2.4: lifecycleNotificationUrl is "settable only at creation"
			return nil, c.invalidSubscription("'%s' can't be changed.", k)
		}
	}
	if v, ok := in["expirationDateTime"]; ok {
		var text string
		if err := json.Unmarshal(v, &text); err != nil {
			return nil, c.invalidSubscription("expirationDateTime is broken.")
		}
		at, e := c.expiration(text)
		if e != nil {
			return nil, e
		}
		o.expires = at
	}
	if v, ok := in["notificationUrl"]; ok {
		var text string
		if err := json.Unmarshal(v, &text); err != nil || text != o.notify {
			return nil, c.invalidSubscription("graphtest changes no notificationUrl.")
		}
	}
	o.lapsed = false
	return ok(o.wire()), nil
}

func (c *call) deleteSubscription() (*reply, *apiError) {
	o, e := c.pathSubscription()
	if e != nil {
		return nil, e
	}
	c.s.removeSubscription(o)
	return noContent, nil
}

// reauthorize answers reauthorizationRequired (facts 2.4).
func (c *call) reauthorize() (*reply, *apiError) {
	o, e := c.pathSubscription()
	if e != nil {
		return nil, e
	}
	o.lapsed = false
	return noContent, nil
}

func (s *Server) removeSubscription(o *subscription) {
	s.hooks.subs = slices.DeleteFunc(s.hooks.subs, func(x *subscription) bool { return x == o })
	s.hooks.queue = slices.DeleteFunc(s.hooks.queue, func(d *delivery) bool { return d.sub == o && d.event == "" })
}

// endSubscriptions takes away those that have ended, without a word.
func (u *User) endSubscriptions(now time.Time) {
	for _, o := range slices.Clone(u.s.hooks.subs) {
		if o.user == u && !now.Before(o.expires) {
			u.s.removeSubscription(o)
		}
	}
}

// dropSubscriptions takes all away and says so: facts 2.4, "removed when the user's password changes/resets or the account is disabled".
func (u *User) dropSubscriptions() {
	for _, o := range slices.Clone(u.s.hooks.subs) {
		if o.user == u {
			u.s.removeSubscription(o)
			u.s.tell(o, "subscriptionRemoved")
		}
	}
}

// Unsubscribe takes the subscriptions to a user's mailbox away: with a lifecycle event, subscriptionRemoved, or silently.
func (u *User) Unsubscribe(silently bool) {
	u.s.mu.Lock()
	if silently {
		u.s.hooks.subs = slices.DeleteFunc(u.s.hooks.subs, func(o *subscription) bool { return o.user == u })
	} else {
		u.dropSubscriptions()
	}
	u.s.mu.Unlock()
	u.s.flush()
}

// LapseSubscriptions is the token of the subscriptions running out: reauthorizationRequired is told, and nothing else until they are reauthorized or
// renewed; what waits for four hours is lost (facts 2.4).
func (u *User) LapseSubscriptions() {
	u.eachSubscription(func(o *subscription) {
		o.lapsed = true
		u.s.tell(o, "reauthorizationRequired")
	})
}

// MissNotifications tells that notifications were missed (facts 2.4: missed).
func (u *User) MissNotifications() {
	u.eachSubscription(func(o *subscription) { u.s.tell(o, "missed") })
}

func (u *User) eachSubscription(f func(*subscription)) {
	u.s.mu.Lock()
	for _, o := range slices.Clone(u.s.hooks.subs) {
		if o.user == u {
			f(o)
		}
	}
	u.s.mu.Unlock()
	u.s.flush()
}
