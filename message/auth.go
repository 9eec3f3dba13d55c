package message

import (
	"strings"

	"golang.org/x/net/publicsuffix"
)

// auth reads the topmost Authentication-Results field when a trusted server wrote it. Everybody can write the
// field; RFC 8601, 5 has the receiving border remove those in its own name, so only the topmost in a name the host
// trusts says anything. Several From mailboxes are never a pass: no receiver says which one it checked.
func (h header) auth(from []Address, servers []string) Auth {
	if len(servers) == 0 || !h.has("authentication-results") {
		return AuthUnknown
	}
	v := h.get("authentication-results")
	if len(v) > 16<<10 {
		return AuthUnknown
	}
	parts := splitParams(stripComments(v))
	id := ""
	// Microsoft 365 writes no authserv-id: the first part is a result already.
	if f := strings.Fields(parts[0]); len(f) > 0 && !strings.Contains(f[0], "=") {
		id, parts = f[0], parts[1:]
	}
	trusted := false
	for _, s := range servers {
		trusted = trusted || strings.EqualFold(s, id)
	}
	if !trusted {
		return AuthUnknown
	}
	domain := Key("")
	if len(from) == 1 && len(h.all("from")) == 1 {
		domain = from[0].Key.Domain()
	}
	dmarc, compauth, aligned := "", "", false
	for _, p := range parts {
		method, result, props := authResult(p)
		switch method {
		case "dmarc":
			if hf := DomainKey(props["header.from"]); hf != "" && hf != domain && domain != "" {
				continue // about another message's From
			}
			if dmarc == "" || result == "fail" {
				dmarc = result
			}
		case "compauth":
			compauth = result
		case "dkim":
			by := props["header.d"]
			if by == "" {
				i := props["header.i"]
				by = i[strings.LastIndexByte(i, '@')+1:]
			}
			aligned = aligned || result == "pass" && domain != "" && alignedDomain(DomainKey(by), domain)
		}
	}
	switch {
	case dmarc == "fail" || dmarc != "pass" && compauth == "fail":
		return AuthFail
	case domain == "":
		return AuthUnknown
	case dmarc == "pass" || compauth == "pass" || aligned:
		return AuthPass
	}
	return AuthUnknown
}

// alignedDomain is DMARC's relaxed alignment: one registrable domain.
func alignedDomain(signer, from Key) bool {
	a, err := publicsuffix.EffectiveTLDPlusOne(string(signer))
	if err != nil {
		return false
	}
	b, err := publicsuffix.EffectiveTLDPlusOne(string(from))
	return err == nil && a == b
}

func authResult(s string) (method, result string, props map[string]string) {
	props = map[string]string{}
	for i, f := range strings.Fields(s) {
		k, v, ok := strings.Cut(f, "=")
		if !ok {
			continue
		}
		k, v = strings.ToLower(k), strings.ToLower(strings.Trim(v, `"`))
		if i == 0 {
			method, _, _ = strings.Cut(k, "/")
			result = v
		} else {
			props[k] = v
		}
	}
	return method, result, props
}
