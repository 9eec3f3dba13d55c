package imap

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/intellicon/email-integration/provider"
)

// ErrPolled is what Wait returns when as many connections wait for news as may: half of Options.PerServer or PerMailbox. The mailbox
// is in order, and polled for now; a later Wait may find room.
var ErrPolled = errors.New("imap: enough connections to the mail server wait for news already: this mailbox is asked from time to time")

// seatWait is how long connecting waits for another connection to end. After that it is a RateLimitError: a worker must not stand
// before one busy server while other mailboxes are due.
const seatWait = 10 * time.Second

var errCrowded = errors.New("imap: there are as many connections to the mail server as we allow ourselves")

// limits bounds the connections of a Provider. A connection has a seat from before it is dialled until it is closed, by us, by
// its death, or because it never came to be. Seats are given in the order of asking. Of the seats at most half wait for news, so
// that what works always comes by: workers end, and make room for workers. Safe for concurrent use.
type limits struct {
	perServer, perMailbox int

	mu    sync.Mutex // guards rooms, and of each room what is not seats
	rooms map[string]*room
}

type room struct {
	seats   chan struct{} // one for each connection
	waiting int           // connections that wait for news
	guests  int           // who holds or wants a seat, or waits; the room is forgotten with the last
}

// place is where a mailbox's connections are counted.
type place struct {
	l               *limits
	server, mailbox string
}

func (l *limits) place(c Config) *place {
	server := strings.ToLower(net.JoinHostPort(c.Host, strconv.Itoa(c.Port)))
	return &place{l, server, server + " " + c.Username}
}

// rooms of a place with their sizes, the mailbox's first: who waits for its own mailbox must take no seat from others.
func (p *place) rooms() []sized {
	var out []sized
	for _, r := range []sized{{p.mailbox, p.l.perMailbox}, {p.server, p.l.perServer}} {
		if r.size > 0 {
			out = append(out, r)
		}
	}
	return out
}

type sized struct {
	key  string
	size int
}

// enter returns the room, made when it is not there. The caller leaves it.
func (l *limits) enter(r sized) *room {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rooms == nil {
		l.rooms = map[string]*room{}
	}
	in := l.rooms[r.key]
	if in == nil {
		in = &room{seats: make(chan struct{}, r.size)}
		l.rooms[r.key] = in
	}
	in.guests++
	return in
}

// leave gives back what was held of the room: nobody sees the one without the other.
func (l *limits) leave(r sized, in *room, back func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	back()
	if in.guests--; in.guests == 0 {
		delete(l.rooms, r.key)
	}
}

// sit takes a seat in every room, waiting for one if it must. stand gives them back, and is called once.
func (p *place) sit(ctx context.Context) (stand func(), err error) {
	var up []func()
	stand = func() {
		for _, f := range up {
			f()
		}
	}
	timer := time.NewTimer(seatWait)
	defer timer.Stop()
	for _, r := range p.rooms() {
		in := p.l.enter(r)
		select {
		case in.seats <- struct{}{}:
			up = append(up, func() { p.l.leave(r, in, func() { <-in.seats }) })
			continue
		case <-ctx.Done():
			err = ctx.Err()
		case <-timer.C:
			err = &provider.RateLimitError{RetryAfter: seatWait, Err: errCrowded}
		}
		p.l.leave(r, in, func() {})
		stand()
		return nil, err
	}
	return stand, nil
}

// idle counts a connection that begins to wait for news; ErrPolled when enough do. end is called once.
func (p *place) idle() (end func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	var ends []func()
	end = func() {
		for _, f := range ends {
			f()
		}
	}
	for _, r := range p.rooms() {
		in := p.l.enter(r)
		p.l.mu.Lock()
		full := in.waiting >= r.size/2
		if !full {
			in.waiting++
		}
		p.l.mu.Unlock()
		if full {
			p.l.leave(r, in, func() {})
			end()
			return nil, ErrPolled
		}
		ends = append(ends, func() { p.l.leave(r, in, func() { in.waiting-- }) })
	}
	return end, nil
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// dial is Config.Dial with a seat for the connection.
func (p *place) dial(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		stand, err := p.sit(ctx)
		if err != nil {
			return nil, err
		}
		seat := &seated{stand: stand}
		defer func() {
			if seat.Conn == nil { // also where the host's Dial panics
				stand()
			}
		}()
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		seat.Conn = conn
		return seat, nil
	}
}

// seated gives its seat back when it is closed. A connection that dies is closed too: go-imap's reader does so at once, whether
// anybody uses the mailbox or not.
type seated struct {
	net.Conn
	once  sync.Once
	stand func()
}

func (c *seated) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.stand)
	return err
}
