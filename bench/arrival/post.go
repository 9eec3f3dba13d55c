package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/internal/mailworld"
)

const sender = "arrival@bench.example"

// patience is how long a mail may take before the benchmark fails.
const patience = time.Minute

// post lets mails arrive by APPEND, and listens on a second connection for the server's word of them.
type post struct {
	srv           *server
	files, listen *imapclient.Client
	idle          *imapclient.IdleCommand
	count         uint32 // messages in INBOX after the last send
	serial        int

	mu    sync.Mutex           // guards words and heard
	words map[uint32]time.Time // by number of messages: when the server first told of as many
	heard uint32               // the highest number told
	more  chan struct{}        // closed and replaced with every word
}

type posted struct {
	id    string
	count uint32    // messages in INBOX with it
	filed time.Time // the server's answer to APPEND
}

func newPost(srv *server) (*post, error) {
	p := &post{srv: srv, words: map[uint32]time.Time{}, more: make(chan struct{})}
	var err error
	if p.files, err = srv.dial(nil); err != nil {
		return nil, err
	}
	if p.listen, err = srv.dial(p.hear); err != nil {
		return nil, err
	}
	sel, err := p.listen.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return nil, err
	}
	p.count, p.heard = sel.NumMessages, sel.NumMessages
	p.idle, err = p.listen.Idle()
	return p, err
}

// hear notes when the server told of n messages, and of those below that it passed over.
func (p *post) hear(n uint32) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := p.heard + 1; i <= n; i++ {
		p.words[i] = now
	}
	p.heard = max(p.heard, n)
	close(p.more)
	p.more = make(chan struct{})
}

// word returns when the server told of as many messages.
func (p *post) word(count uint32) (time.Time, error) {
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		at, ok := p.words[count]
		more := p.more
		p.mu.Unlock()
		if ok {
			return at, nil
		}
		select {
		case <-more:
		case <-timeout:
			return at, fmt.Errorf("the server did not tell an idling client of message %d within %s", count, patience)
		}
	}
}

// send files one mail from a known contact and returns when the server has it.
func (p *post) send() (posted, error) {
	p.serial++
	now := time.Now()
	id := fmt.Sprintf("%d.%d@bench.example", now.UnixNano(), p.serial)
	raw := "From: Arrival <" + sender + ">\nTo: " + p.srv.user + "\nSubject: mail " + fmt.Sprint(p.serial) + "\nDate: " +
		now.Format(time.RFC1123Z) + "\nMessage-ID: <" + id + ">\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\nHello,\n\nis it there yet?\n"
	if err := mailworld.Append(p.files, mailworld.Mail{Folder: "INBOX", At: now, Raw: []byte(raw)}); err != nil {
		return posted{}, err
	}
	filed := time.Now()
	p.count++
	return posted{id, p.count, filed}, nil
}

func (p *post) close() {
	p.files.Close()  //nolint:errcheck // the process ends
	p.listen.Close() //nolint:errcheck // the process ends
}
