package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// server is a mailbox of our own on the Dovecot that .ci/dovecot/start has started.
type server struct {
	Host, User, Password, CA string
	Port                     int
	dir                      string // the mailbox's Maildir
	users                    string // the server's list of users
	owner                    *syscall.Stat_t
}

// openServer adds a user. Dovecot reads the list of users again when it has changed.
func openServer() (*server, error) {
	conf, addr := os.Getenv("EMAILINT_DOVECOT_CONF"), os.Getenv("EMAILINT_DOVECOT_TLS")
	if conf == "" || addr == "" {
		return nil, errors.New("the EMAILINT_DOVECOT variables are not set: eval \"$(.ci/dovecot/start)\"")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("import%d@example.com", os.Getpid())
	home := filepath.Dir(conf)
	s := &server{Host: host, User: name, Password: "import", CA: os.Getenv("EMAILINT_DOVECOT_CA"),
		dir: filepath.Join(home, "mail", name), users: filepath.Join(home, "users")}
	if s.Port, err = strconv.Atoi(port); err != nil {
		return nil, err
	}
	mail, err := os.Stat(filepath.Join(home, "mail"))
	if err != nil {
		return nil, err
	}
	s.owner = mail.Sys().(*syscall.Stat_t)
	users, err := os.ReadFile(s.users)
	if err != nil {
		return nil, err
	}
	return s, os.WriteFile(s.users, append(users, s.line()...), 0o640)
}

func (s *server) line() string { return s.User + ":{PLAIN}" + s.Password + "\n" }

// close takes user and mail away.
func (s *server) close() error {
	users, err := os.ReadFile(s.users)
	if err == nil {
		err = os.WriteFile(s.users, bytes.ReplaceAll(users, []byte(s.line()), nil), 0o640)
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// contents is what was filed.
type contents struct {
	mails int
	bytes int64
	sizes []int
}

func (c *contents) String() string {
	slices.Sort(c.sizes)
	return fmt.Sprintf("%d mails, %.1f MB: median %.1f KB, 99 %% below %.0f KB, largest %.0f KB", c.mails, float64(c.bytes)/1e6,
		float64(c.sizes[len(c.sizes)/2])/1e3, float64(c.sizes[len(c.sizes)*99/100])/1e3, float64(c.sizes[len(c.sizes)-1])/1e3)
}

// fill writes the mails as Dovecot's own delivery would: a file each, named by its sizes, its time that of arrival.
func (s *server) fill(w *world) (c contents, err error) {
	made := map[string]bool{}
	for m := range w.mails() {
		dir := s.dir
		if m.folder != "" {
			dir = filepath.Join(s.dir, "."+m.folder)
		}
		if !made[dir] {
			for _, sub := range []string{"cur", "new", "tmp"} {
				if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
					return c, err
				}
			}
			made[dir] = true
		}
		// Its size on the wire, where every line ends with CRLF.
		wire := len(m.raw) + bytes.Count(m.raw, []byte("\n")) - bytes.Count(m.raw, []byte("\r\n"))
		path := filepath.Join(dir, "cur", fmt.Sprintf("%d.M%dP1.bench,S=%d,W=%d:2,S", m.at.Unix(), c.mails, len(m.raw), wire))
		if err := os.WriteFile(path, m.raw, 0o644); err != nil {
			return c, err
		}
		if err := os.Chtimes(path, m.at, m.at); err != nil {
			return c, err
		}
		c.mails++
		c.bytes += int64(wire)
		c.sizes = append(c.sizes, wire)
	}
	return c, filepath.WalkDir(s.dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && os.Getuid() == 0 {
			err = os.Chown(path, int(s.owner.Uid), int(s.owner.Gid))
		}
		return err
	})
}
