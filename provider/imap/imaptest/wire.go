package imaptest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	goimap "github.com/emersion/go-imap/v2"
)

type listener struct {
	net.Listener
	server *Server
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: c, server: l.server}
	l.server.mu.Lock()
	l.server.wires[w] = struct{}{}
	l.server.mu.Unlock()
	return w, nil
}

// wire is a connection that reads along: it sees commands before the server does, and answers before the client does.
type wire struct {
	net.Conn
	server *Server
	owner  *Mailbox // who signed in; guarded by Server.mu, like
	stuck  string   // a folder that this connection refuses

	selected atomic.Value // string: the folder that is open
	readOnly atomic.Bool  // it was opened by EXAMINE
	dead     atomic.Bool  // bytes go nowhere

	// Used by the reading goroutine alone.
	in      []byte // read from the client and not looked at
	ready   []byte // to be handed to the server
	literal int64  // bytes of a literal still to come
	inside  bool   // the line goes on after a literal

	mu   sync.Mutex // guards what follows
	out  []byte     // a line that is not complete yet
	body int64      // bytes of a literal still to be written
	tag  string     // when this is answered the connection is cut
}

func (w *wire) Close() error {
	w.server.mu.Lock()
	delete(w.server.wires, w)
	w.server.mu.Unlock()
	return w.Conn.Close()
}

func (w *wire) Read(b []byte) (int, error) {
	for len(w.ready) == 0 {
		if w.dead.Load() {
			io.Copy(io.Discard, w.Conn) //nolint:errcheck // until the client gives up
			return 0, io.EOF
		}
		if w.take() {
			continue
		}
		buf := make([]byte, 4096)
		n, err := w.Conn.Read(buf)
		w.in = append(w.in, buf[:n]...)
		if err != nil {
			return 0, err
		}
	}
	n := copy(b, w.ready)
	w.ready = w.ready[n:]
	return n, nil
}

// take makes ready what is complete: one line, or a piece of a literal. One command at a time, so that one that was sent along
// with others is met where it stands.
func (w *wire) take() bool {
	if w.literal > 0 && len(w.in) > 0 {
		n := min(w.literal, int64(len(w.in)))
		w.ready, w.in, w.literal = w.in[:n:n], w.in[n:], w.literal-n
		return true
	}
	end := bytes.IndexByte(w.in, '\n') + 1
	if w.literal > 0 || end == 0 {
		return false
	}
	line := w.in[:end:end]
	w.in = w.in[end:]
	first := !w.inside
	w.literal = literalSize(line)
	w.inside = w.literal >= 0
	w.literal = max(w.literal, 0)
	if !first || w.command(strings.TrimRight(string(line), "\r\n")) {
		w.ready = line
	}
	return true
}

var literalEnd = regexp.MustCompile(`\{(\d+)[+-]?\}\r?\n$`)

// literalSize returns the size of the literal that follows a line, -1 when none does.
func literalSize(line []byte) int64 {
	m := literalEnd.FindSubmatch(line)
	if m == nil {
		return -1
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// command looks at a command's first line and says whether the server is to have it.
func (w *wire) command(line string) bool {
	tag, cmd, ok := strings.Cut(line, " ")
	if !ok {
		return true // DONE, or the lines of signing in
	}
	name, rest, _ := strings.Cut(cmd, " ")
	name = strings.ToUpper(name)
	if name == "UID" {
		sub, r, _ := strings.Cut(rest, " ")
		name, rest = "UID "+strings.ToUpper(sub), r
	}
	shown := name
	if name != "LOGIN" && name != "AUTHENTICATE" && rest != "" {
		shown += " " + strings.ReplaceAll(rest, `"`, "")
	}
	w.server.mu.Lock()
	w.server.commands = append(w.server.commands, shown)
	var h hook
	hs := w.server.trouble.hooks
	for i := range hs {
		if strings.HasPrefix(shown, hs[i].command) {
			h = hs[i]
			w.server.trouble.hooks = append(hs[:i:i], hs[i+1:]...)
			break
		}
	}
	w.server.mu.Unlock()
	switch {
	case h.f == nil:
	case h.deed == hang:
		w.dead.Store(true)
		h.f()
		return false
	case h.deed == cut:
		w.Conn.Close() //nolint:errcheck // it is to be gone
		return false
	case h.deed == lose:
		w.mu.Lock()
		w.tag = tag
		w.mu.Unlock()
	default:
		h.f()
	}
	switch name {
	case "SELECT", "EXAMINE":
		w.readOnly.Store(name == "EXAMINE")
	}
	if answer := w.refusal(name, rest); answer != "" {
		w.raw(tag + " " + answer + "\r\n")
		return false
	}
	return true
}

// refusal answers what the server does not offer: RFC 3501, 7.1.3: BAD is an unknown command.
func (w *wire) refusal(name, rest string) string {
	needs := map[string]goimap.Cap{"IDLE": goimap.CapIdle, "NAMESPACE": goimap.CapNamespace, "MOVE": goimap.CapMove, "UID MOVE": goimap.CapMove,
		"UID EXPUNGE": goimap.CapUIDPlus, "UNSELECT": goimap.CapUnselect, "ENABLE": goimap.CapEnable}[name]
	upper := strings.ToUpper(rest)
	switch {
	case (name == "SEARCH" || name == "UID SEARCH") && strings.HasPrefix(upper, "RETURN "):
		needs = goimap.CapESearch
	case name == "LIST" && strings.Contains(upper, "STATUS ("):
		needs = goimap.CapListStatus
	case name == "LIST" && (strings.HasPrefix(rest, "(") || strings.Contains(upper, " RETURN (")):
		needs = goimap.CapListExtended
	case (name == "SELECT" || name == "EXAMINE") && strings.HasSuffix(upper, "(CONDSTORE)"):
		needs = goimap.CapCondStore
	}
	if needs != "" && !w.server.caps.Has(needs) {
		return "BAD " + name + " needs " + string(needs) + ", which this server does not offer"
	}
	if name == "EXPUNGE" && w.readOnly.Load() {
		return "NO [READ-ONLY] The mailbox was opened read-only"
	}
	if name == "STATUS" {
		box, _, _ := strings.Cut(rest, " ")
		if open, _ := w.selected.Load().(string); open != "" && strings.EqualFold(strings.Trim(box, `"`), open) {
			// RFC 3501, 6.3.10: it should not be asked of the open folder, and a server need not answer right.
			return "NO STATUS of the selected mailbox"
		}
	}
	return ""
}

// raw writes to the client what the server knows nothing of.
func (w *wire) raw(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.dead.Load() {
		io.WriteString(w.Conn, line) //nolint:errcheck // the client may be gone
	}
}

func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead.Load() {
		return len(b), nil
	}
	var send []byte
	for rest := b; len(rest) > 0; {
		if w.body > 0 {
			n := min(w.body, int64(len(rest)))
			send = append(send, rest[:n]...)
			rest, w.body = rest[n:], w.body-n
			continue
		}
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			w.out = append(w.out, rest...)
			break
		}
		line := append(w.out, rest[:end]...)
		rest, w.out = rest[end:], nil
		w.body = max(literalSize(line), 0)
		if w.tag != "" && bytes.HasPrefix(line, []byte(w.tag+" ")) {
			w.Conn.Close() //nolint:errcheck // it is to be gone
			return 0, fmt.Errorf("imaptest: the answer is lost: %w", net.ErrClosed)
		}
		send = append(send, w.response(line)...)
	}
	if len(send) == 0 {
		return len(b), nil
	}
	if _, err := w.Conn.Write(send); err != nil {
		return 0, err
	}
	return len(b), nil
}

var (
	uidNextItem = regexp.MustCompile(` ?UIDNEXT \d+`)
	uidPlusCode = regexp.MustCompile(`\[(APPENDUID|COPYUID) [^\]]*\] `)
)

// response takes out of a line what this server doesn't have.
func (w *wire) response(line []byte) []byte {
	s := string(line)
	if i := strings.Index(s, "CAPABILITY "); i >= 0 && (strings.HasPrefix(s[i-1:], "[") || strings.HasPrefix(s, "* ")) {
		end := i + len(s[i:])
		if j := strings.IndexAny(s[i:], "]\r"); j >= 0 {
			end = i + j
		}
		return []byte(s[:i] + w.capabilities(s[i:end]) + s[end:])
	}
	w.server.mu.Lock()
	noNext := w.server.trouble.noNext
	w.server.mu.Unlock()
	switch {
	case noNext && strings.HasPrefix(s, "* OK [UIDNEXT "):
		return nil
	case noNext && strings.HasPrefix(s, "* STATUS "):
		s = strings.Replace(uidNextItem.ReplaceAllString(s, ""), "( ", "(", 1)
	case !w.server.caps.Has(goimap.CapUIDPlus) && strings.Contains(s, "UID "):
		s = uidPlusCode.ReplaceAllString(s, "")
	}
	return []byte(s)
}

// capabilities names what the server has: go-imap's names some of its own accord, and doesn't know all.
func (w *wire) capabilities(list string) string {
	own := map[string]bool{"IDLE": true, "UNSELECT": true, "ENABLE": true}
	var out []string
	named := map[string]bool{}
	for c := range strings.FieldsSeq(list) {
		if own[c] && !w.server.caps.Has(goimap.Cap(c)) || c == "UTF8=ACCEPT" {
			continue
		}
		named[c] = true
		out = append(out, c)
	}
	for _, c := range w.server.opts.With {
		if !named[string(c)] {
			out = append(out, string(c))
		}
	}
	return strings.Join(out, " ")
}
