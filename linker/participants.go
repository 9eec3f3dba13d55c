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
	return findMailbox(r.Own, k) >= 0
}

// excluded returns the rule that excludes the address and its reach, "" for none. The widest reach wins, then the
// least domain.
func (r *Rules) excluded(k message.Key) (rule message.Key, reach Reach) {
	if i := findMailbox(r.ExcludedAddresses, k); i >= 0 {
		return r.ExcludedAddresses[i], ReachEverything
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

// twin returns the other domain of a Gmail mailbox, "" for a domain that is not Gmail's.
func twin(domain message.Key) message.Key {
	switch domain {
	case "gmail.com":
		return "googlemail.com"
	case "googlemail.com":
		return "gmail.com"
	}
	return ""
}

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

// findMailbox returns the index of the first address that reaches the same mailbox as k, -1 for none: equal without +tag, and at Gmail
// without dots. It runs for every participant of every mail over lists that hold one entry a mailbox, so it takes apart only what lies at
// the domain of k.
func findMailbox(addresses []message.Key, k message.Key) int {
	local, domain := split(k)
	local = untag(local)
	other := twin(domain)
	for i, a := range addresses {
		l, ok := localAt(a, domain)
		if !ok && other != "" {
			l, ok = localAt(a, other)
		}
		if !ok {
			continue
		}
		if l = untag(l); l == local || other != "" && sameWithoutDots(l, local) {
			return i
		}
	}
	return -1
}

// localAt returns the local part of an address at the domain, and whether it is there.
func localAt(k, domain message.Key) (string, bool) {
	at := len(k) - len(domain) - 1
	if at < 0 || k[at] != '@' || k[at+1:] != domain {
		return "", false
	}
	return string(k[:at]), true
}

func sameWithoutDots(a, b string) bool {
	for {
		for a != "" && a[0] == '.' {
			a = a[1:]
		}
		for b != "" && b[0] == '.' {
			b = b[1:]
		}
		if a == "" || b == "" || a[0] != b[0] {
			return a == b
		}
		a, b = a[1:], b[1:]
	}
}

const variants = 4

// variant writes into buf the i-th other form under which a record may hold the address, nil for none: without
// +tag; and at Gmail, where dots don't count and both domains are one, without dots and at the other domain.
func variant(buf []byte, k message.Key, i int) []byte {
	local, domain := split(k)
	bare := untag(local)
	other := twin(domain)
	if i > 0 && other == "" {
		return nil
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
