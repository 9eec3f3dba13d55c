package outlook

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strings"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/provider"
)

// graphScope is what names of Graph's permissions may begin with, in a request and in an answer.
const graphScope = "https://graph.microsoft.com/"

// OAuth implements provider.Authorizer. Facts 2.1: Mail.ReadWrite does not include sending. What signs people in is asked for and not looked for: answers need not
// name it, and a refresh token shows by itself.
func (p *Provider) OAuth(app provider.OAuthApp) provider.OAuth {
	perm := func(name, what string, optional bool) provider.OAuthScope {
		return provider.OAuthScope{Name: name, For: what, Optional: optional, By: []string{graphScope + name}}
	}
	o := provider.OAuth{
		Endpoint: oauth2.Endpoint{AuthURL: p.at(p.o.AuthURL, app), TokenURL: p.at(p.o.TokenURL, app), AuthStyle: oauth2.AuthStyleInParams},
		Params:   map[string]string{"prompt": "select_account"}, // who is signed in need not be whose mailbox it is
		Scopes:   []provider.OAuthScope{perm("Mail.ReadWrite", "read, archive and categorise mail", false), perm("Mail.Send", "send mail", false)},
	}
	if p.o.ColorCategories {
		o.Scopes = append(o.Scopes, perm("MailboxSettings.ReadWrite", "give categories a colour", true))
	} else {
		o.Scopes = append(o.Scopes, perm("MailboxSettings.Read", "read settings of the mailbox", true))
	}
	o.Scopes = append(o.Scopes, perm("User.Read", "tell the addresses of the mailbox", false))
	for _, s := range []string{"offline_access", "openid", "email", "profile"} {
		o.Scopes = append(o.Scopes, provider.OAuthScope{Name: s, For: "stay connected and tell whose mailbox it is", Optional: true})
	}
	return o
}

func (p *Provider) at(address string, app provider.OAuthApp) string {
	return strings.ReplaceAll(address, "{tenant}", url.PathEscape(cmp.Or(app.Tenant, "common")))
}

// AdminConsentURL is the page on which an administrator lets a whole organisation use an app (facts 2.1). It sends them back to the redirect URI with
// admin_consent=True and tenant, or with an error. State comes back as it is.
func (p *Provider) AdminConsentURL(app provider.OAuthApp, state string) string {
	if app.Tenant == "" || app.Tenant == "common" || app.Tenant == "consumers" {
		app.Tenant = "organizations" // a personal account has no administrator
	}
	var scopes []string
	for _, s := range p.OAuth(app).Scopes {
		if len(s.By) > 0 {
			scopes = append(scopes, graphScope+s.Name)
		}
	}
	q := url.Values{"client_id": {app.ClientID}, "scope": {strings.Join(scopes, " ")}, "redirect_uri": {app.RedirectURI}, "state": {state}}
	return p.at(p.o.AdminConsentURL, app) + "?" + q.Encode()
}

// Subject implements provider.Authorizer. Facts 2.1: "tid + oid claims; never email/UPN".
func (p *Provider) Subject(t *oauth2.Token) (string, error) {
	raw, _ := t.Extra("id_token").(string)
	if raw == "" {
		return "", nil
	}
	var claims struct {
		Tenant string `json:"tid"`
		Object string `json:"oid"`
	}
	parts := strings.Split(raw, ".")
	if len(parts) == 3 {
		if b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "=")); err == nil && json.Unmarshal(b, &claims) == nil {
			if claims.Tenant == "" || claims.Object == "" {
				return "", errors.New("outlook: the id_token does not say who signed in")
			}
			return claims.Tenant + "/" + claims.Object, nil
		}
	}
	return "", errors.New("outlook: the id_token is no JWT")
}

// Refusal implements provider.Authorizer. Facts 2.1: "branch on OAuth error, not on AADSTS numbers", which may change: these decide only where the error leaves
// open who must act.
func (p *Provider) Refusal(code, description string) *provider.NeedsAction {
	action := func(who provider.Who, reason string) *provider.NeedsAction {
		return &provider.NeedsAction{Who: who, Reason: reason, Err: errors.New("oauth: " + word(code) + numbers(description))}
	}
	says := func(ns ...string) bool {
		for _, n := range ns {
			if strings.Contains(description, "AADSTS"+n+":") || strings.Contains(description, "AADSTS"+n+" ") || strings.HasSuffix(description, "AADSTS"+n) {
				return true
			}
		}
		return false
	}
	admin := func() *provider.NeedsAction {
		return action(provider.Admin, "the organisation's administrator must approve this app before its people can connect their mailboxes: give them the link for administrators "+
			"(docs/setup-microsoft.md, \"Admin consent\")")
	}
	switch code {
	case "invalid_grant", "interaction_required", "login_required":
		switch {
		case says("65001", "90094", "90095", "900941"):
			return admin()
		case says("700016", "7000112"):
			return action(provider.Admin, "the app is not allowed in this organisation any more: its administrator must approve it again (docs/setup-microsoft.md, \"Admin consent\")")
		case says("50057"): // (mem): the account is disabled, which its owner can't change
			return action(provider.Admin, "the person's account is disabled in their organisation: its administrator can enable it, and then it is connected again (docs/setup-microsoft.md, \"Tokens that end\")")
		case code == "interaction_required" || says("50076", "50079", "50078", "50097", "53000", "53001", "53002", "53003", "53004"):
			return action(provider.User, "the organisation asks for another sign-in: connect the mailbox again (docs/setup-microsoft.md, \"Tokens that end\")")
		}
		return action(provider.User, "Microsoft no longer accepts this sign-in (it was withdrawn, the account was changed, or it was not used for 90 days): connect the mailbox again "+
			"(docs/setup-microsoft.md, \"Tokens that end\")")
	case "consent_required":
		return admin()
	case "access_denied":
		if says("90094", "90095", "900941", "65001") || strings.Contains(strings.ToLower(description), "admin") {
			return admin()
		}
		return action(provider.User, "the access was not granted: connect again and accept; where Microsoft asks for an administrator, they must approve the app first "+
			"(docs/setup-microsoft.md, \"Admin consent\")")
	case "invalid_client":
		if says("7000222") {
			return action(provider.Operator, "the client secret of the app has expired: make another one and put it into the settings; no mailbox has to be connected again "+
				"(docs/setup-microsoft.md, \"Client secret\")")
		}
		return action(provider.Operator, "Microsoft does not accept the app's client id or secret: the secret's value is needed, not its id (docs/setup-microsoft.md, \"Client secret\")")
	case "unauthorized_client":
		return action(provider.Operator, "the app is not known in this tenant, or not for this kind of account: look at its supported account types and the tenant in the settings "+
			"(docs/setup-microsoft.md, \"Registration\")")
	case "invalid_scope", "invalid_resource", "unsupported_response_type":
		return action(provider.Operator, "the app asks for something that Microsoft does not know (docs/setup-microsoft.md, \"Permissions\")")
	case "invalid_request":
		if says("50011", "500113") {
			return action(provider.Operator, "the redirect URI is not registered with the app (docs/setup-microsoft.md, \"Registration\")")
		}
	}
	return nil
}

// numbers are the AADSTS numbers of a description, for logs: the rest of it may name people.
func numbers(description string) string {
	out := ""
	for rest := description; ; {
		_, after, ok := strings.Cut(rest, "AADSTS")
		if !ok || len(out) > 60 {
			return out
		}
		n := 0
		for n < len(after) && after[n] >= '0' && after[n] <= '9' {
			n++
		}
		if n > 0 && n < 10 {
			out += " AADSTS" + after[:n]
		}
		rest = after
	}
}

// word keeps text out of an error that is no code.
func word(s string) string {
	if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
	}) {
		return ""
	}
	return s
}
