package imap

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

type logConn struct {
	net.Conn
	mu   sync.Mutex
	out  *os.File
	sent map[string]time.Time
	line map[string]string
	in   []byte
	n    int64
	last int64
}

func logged(c net.Conn) net.Conn {
	p := os.Getenv("IMAPLOG")
	if p == "" {
		return c
	}
	f, _ := os.OpenFile(p, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	return &logConn{Conn: c, out: f, sent: map[string]time.Time{}, line: map[string]string{}}
}

func (l *logConn) Write(b []byte) (int, error) {
	l.mu.Lock()
	for _, s := range strings.Split(string(b), "\r\n") {
		tag, rest, ok := strings.Cut(s, " ")
		if ok && len(tag) < 8 && strings.HasPrefix(tag, "T") {
			l.sent[tag], l.line[tag] = time.Now(), rest
		}
	}
	l.mu.Unlock()
	return l.Conn.Write(b)
}

func (l *logConn) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n += int64(n)
	data := append(l.in, b[:n]...)
	for {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			break
		}
		s := string(data[:min(i, 40)])
		data = data[i+1:]
		tag, _, ok := strings.Cut(s, " ")
		if at, is := l.sent[tag]; ok && is {
			line := l.line[tag]
			fmt.Fprintf(l.out, "%.6f\t%.6f\t%d\t%d\t%s\n", float64(at.UnixNano())/1e9, time.Since(at).Seconds(), l.n-l.last, len(line), line[:min(len(line), 160)])
			l.last = l.n
			delete(l.sent, tag)
		}
	}
	if len(data) > 1000 {
		data = nil
	}
	l.in = append([]byte(nil), data...)
	return n, err
}
