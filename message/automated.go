package message

import (
	"strings"
)

// content is what Parse knows beyond the header.
type content struct {
	kinds      []string
	text, html string
}

// classify judges whether a person wrote the message to its readers. Evidence is taken in the order of its
// strength: what a machine says of itself, what only machines send, then wording and habit.
//
// A post by a person to a mailing list is a person's mail although the list adds bulk headers: with signs of a
// discussion list, those headers say nothing.
func classify(h header, e *Envelope, c *content) Automated {
	is := func(class Class, reason string) Automated {
		return Automated{Class: class, Reason: cut(oneLine(clean(reason)), 200)}
	}
	s := newSigns(h, e, c)

	// The structure of the message: RFC 3462 reports and what they hold.
	for _, k := range s.kinds {
		switch k {
		case "message/delivery-status", "message/global-delivery-status", "delivery-status":
			return is(Bounce, "Content-Type: "+k)
		case "message/disposition-notification", "message/global-disposition-notification", "disposition-notification":
			return is(Receipt, "Content-Type: "+k)
		case "message/feedback-report", "feedback-report", "application/tlsrpt+gzip", "application/tlsrpt+json", "tlsrpt":
			return is(Report, "Content-Type: "+k)
		}
	}
	if strings.Contains(s.subject, "report domain:") && strings.Contains(s.subject, "submitter:") {
		return is(Report, "Subject: Report Domain") // RFC 7489, 7.2.1.1 and RFC 8460, 3
	}
	if strings.HasPrefix(s.subject, "complaint about message from") || strings.HasPrefix(s.subject, "abuse report") && s.null {
		return is(Report, "Subject: complaint") // Seen in practice: Hotmail's feedback loop, before ARF
	}
	if h.has("x-failed-recipients") {
		return is(Bounce, "X-Failed-Recipients")
	}
	daemon := daemonLocals[s.local] || strings.HasPrefix(s.local, "mailer-daemon") || strings.Contains(s.name, "mail delivery s") || strings.Contains(s.name, "mailer-daemon")
	bounceSubject := prefix(s.subject, bounceSubjects)
	if daemon {
		return is(Bounce, "From: "+s.local)
	}
	if bounceSubject != "" && (!s.reply || s.null) {
		return is(Bounce, "Subject: "+bounceSubject)
	}
	if s.postmaster && (!s.reply || s.null || s.bounceWords()) {
		return is(Bounce, "From: "+s.local)
	}

	auto := autoKeyword(h)
	awaySubject := prefix(s.subject, awaySubjects)
	switch {
	case auto == "auto-replied":
		return is(AutoReply, "Auto-Submitted: "+auto)
	case auto != "" && auto != "no" && awaySubject != "":
		return is(AutoReply, "Auto-Submitted: "+auto)
	}
	for _, n := range autoReplyFields {
		if v := strings.ToLower(h.get(n)); h.has(n) && v != "no" && v != "false" {
			return is(AutoReply, n)
		}
	}
	if v := strings.ToLower(h.get("x-apple-action")); v == "vacation" {
		return is(AutoReply, "X-Apple-Action: vacation")
	}
	if s.precedence == "auto_reply" || s.precedence == "auto-reply" {
		return is(AutoReply, "Precedence: "+s.precedence)
	}
	if h.has("x-auto-response-suppress") && h.has("x-ms-exchange-inbox-rules-loop") {
		return is(AutoReply, "X-MS-Exchange-Inbox-Rules-Loop with X-Auto-Response-Suppress")
	}
	if awaySubject != "" && awaySubject != "auto:" || awaySubject == "auto:" && len(e.InReplyTo) > 0 {
		return is(AutoReply, "Subject: "+awaySubject)
	}
	if s.null { // RFC 5321, 4.5.5
		switch {
		case s.bounceWords():
			return is(Bounce, "Return-Path: <>")
		case s.reply:
			return is(AutoReply, "Return-Path: <>")
		}
		return is(Notification, "Return-Path: <>")
	}

	for _, n := range notificationFields {
		if h.has(n) {
			return is(Notification, n)
		}
	}
	if !s.reply && s.commit(h) {
		return is(Notification, "wording: a commit")
	}
	bulk := ""
	for _, n := range bulkFields {
		if h.has(n) {
			bulk = n
			break
		}
	}
	if bulk == "" && (s.precedence == "bulk" || s.precedence == "list" || s.precedence == "junk") {
		bulk = "precedence"
	}
	if auto != "" && auto != "no" && (!s.discussion || s.machine != "") {
		if bulk != "" && auto == "auto-generated" && h.has("list-unsubscribe") && s.machine == "" {
			return is(Newsletter, "Auto-Submitted: "+auto)
		}
		return is(Notification, "Auto-Submitted: "+auto)
	}
	switch {
	case s.machine != "":
		if bulk != "" && !s.discussion || s.bulkSender {
			return is(Newsletter, "From: "+s.machine)
		}
		return is(Notification, "From: "+s.machine)
	case s.discussion:
		return Automated{}
	case bulk != "" && !(s.reply && listOnly[bulk] && !h.has("list-unsubscribe-post") && !h.has("feedback-id")):
		// An answer with nothing but list headers is a person's post to a list that does not name List-Post.
		return is(Newsletter, bulk)
	case s.reply:
		return Automated{}
	}
	if s.bounceWords() && s.weakSender {
		return is(Bounce, "wording")
	}
	if w := s.bulkWords(); w != "" {
		return is(Newsletter, "wording: "+w)
	}
	return Automated{}
}

// signs are the facts that several rules look at.
type signs struct {
	kinds      []string // report-type and media types
	subject    string   // lower case
	local      string   // of From, lower case
	name       string   // of From, lower case
	precedence string
	machine    string // the part of From that says that no person answers there
	bulkSender bool   // and that says newsletter
	weakSender bool   // an address that people rarely write from
	postmaster bool
	null       bool // Return-Path: <>
	reply      bool // answers another message
	discussion bool // came through a list where people write
	body       *content
}

func newSigns(h header, e *Envelope, c *content) *signs {
	s := &signs{
		subject:    strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(e.Subject, "’", "'")), " ")),
		precedence: strings.ToLower(strings.TrimSpace(stripComments(h.get("precedence")))),
		reply:      len(e.InReplyTo) > 0 || len(e.References) > 0,
		body:       c,
	}
	typ, params := parseParams(h.get("content-type"))
	if typ == "multipart/report" {
		s.kinds = append(s.kinds, strings.ToLower(params["report-type"]))
	}
	s.kinds = append(s.kinds, typ)
	if c != nil {
		s.kinds = append(s.kinds, c.kinds...)
	}
	if h.has("return-path") {
		rp := strings.Join(strings.Fields(h.get("return-path")), "")
		s.null = rp == "<>" || strings.EqualFold(rp, "<MAILER-DAEMON>")
	}
	// Signs of a list that takes posts: RFC 2369, 3.4 (List-Post: NO is a newsletter), Mailman, ezmlm, Majordomo.
	post := strings.ToUpper(strings.TrimSpace(stripComments(h.get("list-post"))))
	s.discussion = post != "" && post != "NO" || h.has("x-mailman-version") || h.has("x-beenthere") || h.has("mailing-list") ||
		h.has("x-mailing-list") || h.has("x-ml-name") || h.has("x-original-sender") && h.has("list-id")
	if post == "NO" {
		s.discussion = false
	}
	if len(e.From) > 0 {
		f := e.From[0]
		s.name = strings.ToLower(f.Name)
		addr := strings.ToLower(f.Addr)
		local, domain, _ := strings.Cut(addr, "@")
		if at := strings.LastIndexByte(addr, '@'); at >= 0 {
			local, domain = addr[:at], addr[at+1:]
		}
		s.local = strings.Trim(local, `"`)
		s.sender(domain)
	} else if h.has("from") && strings.TrimSpace(h.get("from")) == "<>" {
		s.null = true
	}
	return s
}

// flatten makes no-reply and no_reply noreply.
var flatten = strings.NewReplacer("-", "", "_", "", ".", "")

// sender looks for the words of an address that nobody reads.
func (s *signs) sender(domain string) {
	flat := flatten.Replace(s.local)
	s.postmaster = strings.HasPrefix(flat, "postmaster") || s.local == "system administrator"
	for _, w := range []string{"noreply", "donotreply", "donotuse", "donotrespond", "neverreply", "mailinglist"} {
		if strings.Contains(flat, w) {
			s.machine = s.local
		}
	}
	for w := range strings.FieldsFuncSeq(s.local, func(r rune) bool { return strings.ContainsRune("-_.+=", r) }) {
		switch {
		case machineWords[w]:
			s.machine = s.local
		case bulkWords[w]:
			s.machine, s.bulkSender = s.local, true
		case strings.HasSuffix(w, "newsletter") || strings.HasSuffix(w, "newsletters"):
			s.machine, s.bulkSender = s.local, true
		}
	}
	for w := range strings.SplitSeq(domain, ".") {
		if bulkDomains[w] && strings.Count(domain, ".") > 1 {
			s.machine, s.bulkSender = domain, true
		}
	}
	for _, w := range []string{"newsletter", "mailing list", "enews", "e-news", "daily digest"} {
		if strings.Contains(s.name, w) {
			s.machine, s.bulkSender = w, true
		}
	}
	s.weakSender = s.machine != "" || s.postmaster || weakLocals[s.local] || strings.Contains(s.local, "mail_service") ||
		strings.Contains(s.local, "antivirus") || strings.Contains(s.local, "smtp")
}

// bounceWords reports whether the text begins as servers word their bounces.
func (s *signs) bounceWords() bool {
	if s.body == nil {
		return false
	}
	t := strings.ToLower(cut(s.body.text, 4096))
	for _, w := range bounceTexts {
		if strings.Contains(t, w) {
			return true
		}
	}
	return false
}

// commit reports whether version control wrote the message in the name of a committer.
func (s *signs) commit(h header) bool {
	if s.body != nil {
		t := strings.TrimSpace(cut(s.body.text, 200))
		if strings.HasPrefix(t, "Update of /") || strings.HasPrefix(t, "Modified Files:") || strings.HasPrefix(t, "CVSROOT:") {
			return true
		}
	}
	if strings.Contains(s.subject, "cvs: ") || strings.Contains(s.subject, "svn commit: ") {
		return true
	}
	for w := range strings.FieldsFuncSeq(strings.ToLower(cut(clean(h.get("list-id")), 500)), func(r rune) bool { return strings.ContainsRune("-_. <>", r) }) {
		if commitLists[w] && s.discussion {
			return true
		}
	}
	return false
}

// bulkWords returns the words by which bulk mail lets its readers go. A reply may quote them, so the caller asks
// only for mail that answers nothing.
func (s *signs) bulkWords() string {
	if s.body == nil || hasReplyPrefix(s.subject) {
		return ""
	}
	t := s.body.text
	if len(t) > 1<<14 { // they stand at the top or at the end
		t = cut(t, 4096) + strings.ToValidUTF8(t[len(t)-(1<<13):], "")
	}
	t = strings.ToLower(strings.Join(strings.Fields(t), " "))
	if s.body.html != "" {
		t += " " + strings.ToLower(strings.Join(strings.Fields(cut(htmlText(s.body.html, 1<<16), 1<<16)), " "))
	}
	for _, w := range bulkTexts {
		if strings.Contains(t, w) {
			return w
		}
	}
	return ""
}

func hasReplyPrefix(subject string) bool {
	p, _, ok := strings.Cut(subject, ":")
	switch strings.TrimSpace(p) {
	case "re", "fw", "fwd", "aw", "wg", "sv", "tr", "rv", "res", "enc", "antw", "r", "i", "回复", "转发", "答复":
		return ok
	}
	return false
}

// autoKeyword returns the keyword of RFC 3834, 5 without the parameters and comments that may follow.
func autoKeyword(h header) string {
	v := strings.ToLower(strings.TrimSpace(stripComments(h.get("auto-submitted"))))
	if i := strings.IndexAny(v, "; \t("); i >= 0 {
		v = v[:i]
	}
	return v
}

// prefix returns the entry that subject begins with. Reply prefixes are not skipped: "Re: Out of office" is a
// person answering.
func prefix(subject string, list []string) string {
	for _, p := range list {
		if strings.HasPrefix(subject, p) {
			return p
		}
	}
	return ""
}
