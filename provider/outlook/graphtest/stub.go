package graphtest

import (
	"net/http"
	"time"
)

type hooks struct{}

func (h *hooks) init()   {}
func (s *Server) flush() {}

type upload struct{}
type category struct{}
type sending struct {
	mail *mail
	due  time.Time
}

// Outgoing is a message that was sent.
type Outgoing struct{}

func defaultSettings() map[string]any                                { return nil }
func (u *User) settle()                                              {}
func (s *Server) settle()                                            {}
func (u *User) notify(m *mail, f *folder, kind string)               {}
func (u *User) notifyMoved(m *mail, from *folder)                    {}
func (u *User) dropSubscriptions()                                   {}
func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
func (s *Server) serveBatch(w http.ResponseWriter, r *http.Request)  { http.NotFound(w, r) }
func (m *mail) mime() []byte                                         { return m.raw }
