package gmailtest

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
)

// Facts 1.7: the most that a message may measure that is sent, and one that is inserted or imported.
const (
	maxSend   = 36_700_160
	maxInsert = 157_286_400
)

// upload is a resumable upload under way.
type upload struct {
	meta []byte
	data []byte
}

// read puts the request's JSON into body and what was uploaded into media. A response is an answer on the way.
func (c *call) read(way string, body []byte) (*response, *apiError) {
	if len(body) > maxBody {
		return nil, c.tooLarge()
	}
	c.body = body
	switch way {
	case "":
		return nil, nil
	case "session":
		return c.resume(body)
	}
	switch c.query.Get("uploadType") {
	case "media":
		c.media, c.body = body, nil
	case "multipart":
		kind, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
		if err != nil || kind != "multipart/related" {
			return nil, invalid("Multipart must be multipart/related")
		}
		r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
		for _, to := range []*[]byte{&c.body, &c.media} {
			p, err := r.NextRawPart()
			if err != nil {
				return nil, invalid("Multipart has too few parts")
			}
			if *to, err = io.ReadAll(p); err != nil {
				return nil, invalid("Multipart is broken")
			}
			if to == &c.media && !strings.HasPrefix(p.Header.Get("Content-Type"), "message/") { // G-disc: accept message/*
				return nil, invalid("Media type '%s' is not supported. Valid media types: [message/*]", p.Header.Get("Content-Type"))
			}
		}
	case "resumable":
		id := c.s.mint("AEnB2U")
		c.s.uploads[id] = &upload{meta: body}
		// The path says the method, for the verb of what follows may be another.
		path := "/upload-sessions/" + id + "/" + c.m.id + c.r.URL.EscapedPath()[strings.Index(c.r.URL.EscapedPath(), "/users/"):]
		h := http.Header{"Location": {c.s.base + path}, "X-Guploader-Uploadid": {id}}
		return &response{http.StatusOK, h, nil, ""}, nil
	default:
		return nil, invalid("Unknown uploadType")
	}
	return nil, nil
}

// resume takes a piece of a resumable upload: "Content-Range: bytes 0-99/1000", or "*/1000" to ask what is there.
func (c *call) resume(piece []byte) (*response, *apiError) {
	id := c.r.PathValue("session")
	u := c.s.uploads[id]
	if u == nil {
		return nil, notFound()
	}
	total := len(u.data) + len(piece)
	if r := c.r.Header.Get("Content-Range"); r != "" {
		span, size, _ := strings.Cut(strings.TrimPrefix(r, "bytes "), "/")
		if first, _, ok := strings.Cut(span, "-"); ok {
			if at, err := strconv.Atoi(first); err != nil || at > len(u.data) {
				return nil, invalid("Content-Range does not go on where the upload ends")
			} else if at < len(u.data) { // sent again
				piece = piece[min(len(u.data)-at, len(piece)):]
			}
		}
		total = -1
		if size != "*" {
			var err error
			if total, err = strconv.Atoi(size); err != nil {
				return nil, invalid("Content-Range is broken")
			}
		}
	}
	u.data = append(u.data, piece...)
	if total != len(u.data) {
		h := http.Header{}
		h.Set("X-Http-Status-Code-Override", "308")
		if len(u.data) > 0 {
			h.Set("Range", fmt.Sprintf("bytes=0-%d", len(u.data)-1))
		}
		status := 308
		if c.r.Header.Get("X-GUploader-No-308") == "yes" { // the Go client asks for that
			status = http.StatusOK
		}
		return &response{status, h, nil, ""}, nil
	}
	delete(c.s.uploads, id)
	c.body, c.media = u.meta, u.data
	return nil, nil
}

func (c *call) tooLarge() *apiError {
	return &apiError{status: http.StatusRequestEntityTooLarge, reason: "uploadTooLarge", message: "Request is too large."}
}

// content is the message of a call: uploaded, or the raw of its JSON.
func (c *call) content(raw string, most int) ([]byte, *apiError) {
	b := c.media
	if b == nil {
		if raw == "" {
			return nil, invalid("'raw' RFC822 payload message string or uploading message via /upload/* URL required") // from memory
		}
		var err error
		if b, err = decode64(raw); err != nil {
			return nil, invalid("Invalid value at 'message.raw' (TYPE_BYTES), Base64 decoding failed")
		}
	}
	if len(b) > most {
		return nil, c.tooLarge()
	}
	return b, nil
}
