package graphtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Spec is an OpenAPI document (3.0) of Graph, such as Microsoft publishes. Of what it covers, requests and answers are checked by it: paths and their
// methods, $select, and the types, enums and patterns of what bodies hold. What it doesn't know is no violation, for published documents lag
// behind. Names and enums are compared in any case, as Graph does. Safe for concurrent use.
type Spec struct {
	paths   []specPath
	schemas map[string]*schema
	re      map[string]*regexp.Regexp
}

type specPath struct {
	segs []string
	ops  map[string]*operation
}

type operation struct {
	Parameters  []parameter
	RequestBody *content
	Responses   map[string]*content
}

type parameter struct {
	Name, In string
	Schema   *schema
}

type content struct {
	Content map[string]struct{ Schema *schema }
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       string
	Enum       []string
	Pattern    string
	Properties map[string]*schema
	Required   []string
	Items      *schema
	AllOf      []*schema
	Minimum    *float64
	Maximum    *float64
}

// LoadSpec reads one from a file of JSON.
func LoadSpec(file string) (*Spec, error) {
	b, err := os.ReadFile(file) //nolint:gosec // the test's own file
	if err != nil {
		return nil, err
	}
	var doc struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Schemas map[string]*schema }
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("graphtest: %s: %w", file, err)
	}
	s := &Spec{schemas: doc.Components.Schemas, re: map[string]*regexp.Regexp{}}
	for path, item := range doc.Paths {
		p := specPath{ops: map[string]*operation{}}
		p.segs, _ = segments(path)
		for verb, raw := range item {
			if !slices.Contains([]string{"get", "post", "patch", "put", "delete"}, verb) {
				continue
			}
			o := &operation{}
			if err := json.Unmarshal(raw, o); err != nil {
				return nil, fmt.Errorf("graphtest: %s: %s: %w", file, path, err)
			}
			p.ops[strings.ToUpper(verb)] = o
		}
		s.paths = append(s.paths, p)
	}
	for _, v := range s.schemas {
		if err := s.compile(v, 0); err != nil {
			return nil, fmt.Errorf("graphtest: %s: %w", file, err)
		}
	}
	return s, nil
}

// maxDepth is how deep schemas are looked into: some hold themselves.
const maxDepth = 20

func (s *Spec) compile(v *schema, depth int) error {
	if v == nil || depth > maxDepth {
		return nil
	}
	if v.Pattern != "" && s.re[v.Pattern] == nil {
		re, err := regexp.Compile(v.Pattern)
		if err != nil {
			return err
		}
		s.re[v.Pattern] = re
	}
	for _, p := range v.Properties {
		if err := s.compile(p, depth+1); err != nil {
			return err
		}
	}
	for _, p := range v.AllOf {
		if err := s.compile(p, depth+1); err != nil {
			return err
		}
	}
	return s.compile(v.Items, depth+1)
}

// find returns the operation of a request; known: the document has the path.
func (s *Spec) find(method, path string) (o *operation, known bool) {
	segs, ok := segments(path)
	if !ok {
		return nil, false
	}
	best := -1
	for _, p := range s.paths {
		if len(p.segs) != len(segs) {
			continue
		}
		exact, fits := 0, true
		for i, seg := range p.segs {
			switch {
			case strings.HasPrefix(seg, "{"):
			case strings.EqualFold(seg, segs[i]):
				exact++
			default:
				fits = false
			}
		}
		if fits && exact > best {
			o, known, best = p.ops[method], true, exact
		}
	}
	return o, known
}

// Request returns what is wrong with a request; path is below the service root, in its escaped form. covered: the document has the path.
func (s *Spec) Request(method, path string, query url.Values, header http.Header, body []byte) (covered bool, wrong []string) {
	o, known := s.find(method, path)
	switch {
	case !known:
		return false, nil
	case o == nil:
		return true, []string{method + " " + path + " is no method of it"}
	}
	for _, p := range o.Parameters {
		if p.Name != "$select" || p.Schema == nil || p.Schema.Items == nil {
			continue
		}
		for _, v := range strings.Split(query.Get(p.Name), ",") {
			if v = strings.TrimSpace(v); v != "" && !anyCase(p.Schema.Items.Enum, v) {
				wrong = append(wrong, "$select has no "+v)
			}
		}
	}
	if o.RequestBody == nil || len(body) == 0 || !strings.HasPrefix(header.Get("Content-Type"), "application/json") {
		return true, wrong
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return true, append(wrong, "the body is no JSON")
	}
	return true, append(wrong, s.check(o.RequestBody.Content["application/json"].Schema, v, "body", 0)...)
}

// Answer returns what is wrong with an answer to a request, where it has JSON.
func (s *Spec) Answer(method, path string, status int, header http.Header, body []byte) (wrong []string) {
	o, _ := s.find(method, path)
	if o == nil || status >= 300 || !strings.HasPrefix(header.Get("Content-Type"), "application/json") {
		return nil
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return []string{"the answer is no JSON"}
	}
	for code, c := range o.Responses {
		sc := c.Content["application/json"].Schema
		if !strings.HasPrefix(code, "2") || sc == nil {
			continue
		}
		if m, ok := v.(map[string]any); ok && sc.Type == "array" { // that is how it writes the answers of functions
			v = m["value"]
		}
		wrong = append(wrong, s.check(sc, v, "answer", 0)...)
	}
	return wrong
}

func anyCase(vs []string, v string) bool {
	return slices.ContainsFunc(vs, func(o string) bool { return strings.EqualFold(o, v) })
}

func (s *Spec) check(sc *schema, v any, at string, depth int) (wrong []string) {
	if sc == nil || v == nil || depth > maxDepth {
		return nil
	}
	if sc.Ref != "" {
		return s.check(s.schemas[strings.TrimPrefix(sc.Ref, "#/components/schemas/")], v, at, depth+1)
	}
	for _, a := range sc.AllOf {
		wrong = append(wrong, s.check(a, v, at, depth+1)...)
	}
	no := func(what string) []string { return append(wrong, fmt.Sprintf("%s is no %s: %.60v", at, what, v)) }
	switch sc.Type {
	case "object":
		m, ok := v.(map[string]any)
		if !ok {
			return no("object")
		}
		for name, p := range sc.Properties {
			for k, x := range m {
				if strings.EqualFold(k, name) {
					wrong = append(wrong, s.check(p, x, at+"."+k, depth+1)...)
				}
			}
		}
		for _, r := range sc.Required {
			if _, ok := m[r]; !ok {
				wrong = append(wrong, at+" has no "+r)
			}
		}
	case "array":
		a, ok := v.([]any)
		if !ok {
			return no("array")
		}
		for i, x := range a {
			wrong = append(wrong, s.check(sc.Items, x, fmt.Sprintf("%s[%d]", at, i), depth+1)...)
		}
	case "string":
		t, ok := v.(string)
		switch {
		case !ok:
			return no("string")
		case len(sc.Enum) > 0 && !anyCase(sc.Enum, t):
			return no("one of " + strings.Join(sc.Enum, ", "))
		case sc.Pattern != "" && s.re[sc.Pattern] != nil && !s.re[sc.Pattern].MatchString(t):
			return no("such string")
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return no("boolean")
		}
	case "integer", "number":
		n, ok := v.(float64)
		if !ok || sc.Type == "integer" && n != float64(int64(n)) || sc.Minimum != nil && n < *sc.Minimum || sc.Maximum != nil && n > *sc.Maximum {
			return no(sc.Type)
		}
	}
	return wrong
}

// Violations returns what Options.Spec had against requests so far, and against this server's own answers.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

// Covered returns how many requests Options.Spec could check so far.
func (s *Server) Covered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.covered
}

// inspect checks a call and its answer.
func (c *call) inspect(res *response) {
	spec := c.s.opts.Spec
	if spec == nil || c.m == nil || res == nil {
		return
	}
	path := strings.TrimPrefix(c.r.URL.EscapedPath(), "/v1.0")
	covered, wrong := spec.Request(c.r.Method, path, c.query, c.r.Header, c.body)
	if res.status >= 400 { // that was refused for what it says is no violation of the caller's code, but of its test
		wrong = nil
	}
	wrong = append(wrong, spec.Answer(c.r.Method, path, res.status, res.header, res.body)...)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if covered {
		c.s.covered++
	}
	for _, w := range wrong {
		c.s.violations = append(c.s.violations, c.m.name+": "+w)
	}
}
