package linker

import (
	"bytes"
	"slices"
	"strings"

	"github.com/intellicon/email-integration/message"
)

// participants returns the address lists that count. Mail is outbound only when it lies in Sent; anything else with an
// own From may be forged. Display names never count.
func participants(e *message.Envelope) [4][]message.Address {
	if e.Sent {
		return [4][]message.Address{e.To, e.Cc, e.Bcc}
	}
	return [4][]message.Address{e.From, e.ReplyTo, e.To, e.Cc}
}

// crowd is who takes part in a message, counted in addresses as written.
type crowd struct {
	own, outside, excluded int
	rule                   message.Key // the least excluded domain or address that applied
	match                  int         // outside and not excluded
}

func (r *Rules) survey(e *message.Envelope) crowd {
	var c crowd
	for _, list := range participants(e) {
		for i := range list {
			k := list[i].Key
			if k == "" {
				continue
			}
			if r.own(k) {
				c.own++
				continue
			}
			c.outside++
			if rule, reach := r.excluded(k); reach == ReachEverything {
				c.excluded++
				if c.rule == "" || rule < c.rule {
					c.rule = rule
				}
			} else {
				c.match++
			}
		}
	}
	return c
}

// outside calls visit for every outside participant that may match. Above MaxParticipants it visits senders first and
// the rest by key, so that the order of a header never decides, and reports that it stopped.
func (r *Rules) outside(e *message.Envelope, c crowd, visit func(k message.Key, accounts bool)) (capped bool) {
	lists := participants(e)
	limit := r.MaxParticipants
	if limit <= 0 {
		limit = DefaultRules().MaxParticipants
	}
	if c.match <= limit {
		for _, list := range lists {
			for i := range list {
				if k := list[i].Key; k != "" && !r.own(k) {
					if _, reach := r.excluded(k); reach != ReachEverything {
						visit(k, reach == "")
					}
				}
			}
		}
		return false
	}
	var senders, rest []message.Key
	for n, list := range lists {
		for _, a := range list {
			if a.Key == "" || r.own(a.Key) {
				continue
			}
			if _, reach := r.excluded(a.Key); reach == ReachEverything {
				continue
			}
			if !e.Sent && n < 2 {
				senders = append(senders, a.Key)
			} else {
				rest = append(rest, a.Key)
			}
		}
	}
	slices.Sort(senders)
	slices.Sort(rest)
	senders, rest = slices.Compact(senders), slices.Compact(rest)
	rest = slices.DeleteFunc(rest, func(k message.Key) bool { _, ok := slices.BinarySearch(senders, k); return ok })
	all := append(senders, rest...)
	capped = len(all) > limit
	for _, k := range all[:min(limit, len(all))] {
		_, reach := r.excluded(k)
		visit(k, reach == "")
	}
	return capped
}

// own reports whether the address belongs to the organisation, also with a +tag.
func (r *Rules) own(k message.Key) bool {
	host := k.Domain()
	for _, d := range r.OwnDomains {
		if within(host, d) {
			return true
		}
	}
	for _, o := range r.Own {
		if k == o || sameMailbox(k, o) {
			return true
		}
	}
	return false
}

// excluded returns the rule that excludes the address and its reach, "" for none. The widest reach wins, then the
// least domain.
func (r *Rules) excluded(k message.Key) (rule message.Key, reach Reach) {
	for _, x := range r.ExcludedAddresses {
		if k == x || sameMailbox(k, x) {
			return x, ReachEverything
		}
	}
	host := k.Domain()
	for _, x := range r.ExcludedDomains {
		if !within(host, x.Domain) {
			continue
		}
		far := x.Reach
		if far != ReachAccounts {
			far = ReachEverything
		}
		if reach == "" || far == reach && x.Domain < rule || far == ReachEverything && reach == ReachAccounts {
			rule, reach = x.Domain, far
		}
	}
	return rule, reach
}

func isGmail(domain message.Key) bool { return domain == "gmail.com" || domain == "googlemail.com" }

func split(k message.Key) (local string, domain message.Key) {
	at := strings.LastIndexByte(string(k), '@')
	if at < 0 {
		return "", k
	}
	return string(k[:at]), k[at+1:]
}

func untag(local string) string {
	if i := strings.IndexByte(local, '+'); i > 0 {
		return local[:i]
	}
	return local
}

// sameMailbox reports whether two addresses reach one mailbox: equal without +tag, and at Gmail without dots.
func sameMailbox(a, b message.Key) bool {
	la, da := split(a)
	lb, db := split(b)
	la, lb = untag(la), untag(lb)
	if !isGmail(da) {
		return da == db && la == lb
	}
	if !isGmail(db) {
		return false
	}
	for {
		for la != "" && la[0] == '.' {
			la = la[1:]
		}
		for lb != "" && lb[0] == '.' {
			lb = lb[1:]
		}
		if la == "" || lb == "" || la[0] != lb[0] {
			return la == lb
		}
		la, lb = la[1:], lb[1:]
	}
}

const variants = 4

// variant writes into buf the i-th other form under which a record may hold the address, nil for none: without
// +tag; and at Gmail, where dots don't count and both domains are one, without dots and at the other domain.
func variant(buf []byte, k message.Key, i int) []byte {
	local, domain := split(k)
	bare := untag(local)
	gmail := isGmail(domain)
	if i > 0 && !gmail {
		return nil
	}
	other := "gmail.com"
	if domain == "gmail.com" {
		other = "googlemail.com"
	}
	buf = append(buf[:0], bare...)
	if i >= 2 {
		w := buf[:0]
		for _, c := range buf {
			if c != '.' {
				w = append(w, c)
			}
		}
		buf = w
	}
	buf = append(buf, '@')
	if i%2 == 0 {
		buf = append(buf, domain...)
	} else {
		buf = append(buf, other...)
	}
	if len(buf) == len(k) && string(buf) == string(k) || bytes.HasPrefix(buf, []byte("@")) {
		return nil
	}
	return buf
}

// Forms returns every form under which a record may hold an address so that it is found by a mail to k: k itself, without +tag, and at Gmail
// without dots and at its other domain.
func Forms(k message.Key) []message.Key {
	out := []message.Key{k}
	if !k.IsAddress() {
		return out
	}
	var space [320]byte
	for i := range variants {
		if v := variant(space[:0], k, i); v != nil && !slices.Contains(out, message.Key(v)) {
			out = append(out, message.Key(v))
		}
	}
	return out
}
