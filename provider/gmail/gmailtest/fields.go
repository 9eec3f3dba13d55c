package gmailtest

import (
	"bytes"
	"encoding/json"
	"strings"
)

// project leaves of an answer what "fields" names (partial responses: "messages(id,threadId),nextPageToken", "payload/headers", "*"). So a
// provider that asks for too little gets too little here as well.
func project(body []byte, mask string) ([]byte, *apiError) {
	m, rest, ok := parseMask(mask)
	if !ok || rest != "" {
		return nil, invalid("Invalid field selection %s", mask)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, invalid("Invalid field selection")
	}
	b, err := json.Marshal(m.of(v))
	if err != nil {
		panic(err) // it was JSON
	}
	return b, nil
}

// fieldMask is the names that are wanted, each with what is wanted of it; nil: all.
type fieldMask map[string]fieldMask

// parseMask reads names up to ")" or the end.
func parseMask(s string) (m fieldMask, rest string, ok bool) {
	m = fieldMask{}
	for {
		name, sub, rest, ok := parseField(s)
		if !ok {
			return nil, rest, false
		}
		m.add(name, sub)
		if s, ok = strings.CutPrefix(rest, ","); !ok {
			return m, rest, true
		}
	}
}

// parseField reads one name and what is wanted of it.
func parseField(s string) (name string, sub fieldMask, rest string, ok bool) {
	i := strings.IndexAny(s, ",/()")
	if i < 0 {
		i = len(s)
	}
	if name, rest = s[:i], s[i:]; name == "" {
		return "", nil, rest, false
	}
	switch {
	case strings.HasPrefix(rest, "("):
		if sub, rest, ok = parseMask(rest[1:]); !ok || !strings.HasPrefix(rest, ")") {
			return "", nil, rest, false
		}
		return name, sub, rest[1:], true
	case strings.HasPrefix(rest, "/"):
		child, below, rest, ok := parseField(rest[1:])
		return name, fieldMask{child: below}, rest, ok
	}
	return name, nil, rest, true
}

func (m fieldMask) add(name string, sub fieldMask) {
	old, there := m[name]
	if !there || sub == nil {
		m[name] = sub
		return
	}
	if old == nil { // all of it already
		return
	}
	for k, v := range sub {
		old.add(k, v)
	}
}

func (m fieldMask) of(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = m.of(v[i])
		}
		return v
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			sub, ok := m[k]
			if !ok {
				if sub, ok = m["*"]; !ok {
					continue
				}
			}
			if sub != nil {
				e = sub.of(e)
			}
			out[k] = e
		}
		return out
	}
	return v
}
