package graphtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Spec is an OpenAPI document (3.0) of Graph, such as Microsoft publishes. Of the paths that it has, requests and answers are checked by it: their
// methods, the query options that it names and the values it lists for them, and the names, types, enums and patterns of what bodies hold. A path that it
// lacks is no violation, for published documents lag behind: Server.Uncovered tells of it. Names and enums are compared in any case, as Graph does.
// Safe for concurrent use.
type Spec struct {
	paths   []specPath
	schemas map[string]*schema
	re      map[string]*regexp.Regexp
	shared  map[string]parameter // components/parameters
	named   sync.Map             // *schema -> map[string]bool: names of properties in lower case
}

// beyond are properties that Graph has, and Microsoft's document of 2022-03 not: it was cut to what types of mail it names.
var beyond = map[string]string{
	"contentbytes":    "of fileAttachment, a type that it does not describe",
	"contentid":       "the same",
	"contentlocation": "the same",
	"sizeinbytes":     "of mailFolder; from memory, newer",
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
	Ref      string `json:"$ref"`
	Name, In string
	Schema   *schema
}

type content struct {
	Content  map[string]struct{ Schema *schema }
	Required bool
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
		Components struct {
			Schemas    map[string]*schema
			Parameters map[string]parameter
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("graphtest: %s: %w", file, err)
	}
	s := &Spec{schemas: doc.Components.Schemas, shared: doc.Components.Parameters, re: map[string]*regexp.Regexp{}}
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
	asked := o
	if i := strings.LastIndex(path, "/"); i > 0 && method == http.MethodGet && strings.HasPrefix(strings.ToLower(path[i+1:]), "delta") {
		// Functions have no parameters in the document; a delta takes those of the listing (facts 2.2).
		if list, _ := s.find(method, path[:i]); list != nil {
			asked = list
		}
	}
	wrong = s.options(asked, query)
	switch {
	case o.RequestBody == nil && len(body) > 0:
		return true, append(wrong, "it has no body")
	case o.RequestBody == nil || len(body) == 0 || !strings.HasPrefix(header.Get("Content-Type"), "application/json"):
		return true, wrong
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return true, append(wrong, "the body is no JSON")
	}
	return true, append(wrong, s.check(o.RequestBody.Content["application/json"].Schema, v, "body", 0)...)
}

// options checks the query.
func (s *Spec) options(o *operation, query url.Values) (wrong []string) {
	known := map[string]*schema{}
	for _, p := range o.Parameters {
		if p.Ref != "" {
			p = s.shared[strings.TrimPrefix(p.Ref, "#/components/parameters/")]
		}
		if p.In == "query" {
			known[strings.ToLower(p.Name)] = p.Schema
		}
	}
	if len(known) == 0 {
		return nil
	}
	for name := range query {
		// Facts 2.2: a link's own token is Graph's business.
		if !strings.HasPrefix(name, "$") || strings.EqualFold(name, "$skiptoken") || strings.EqualFold(name, "$deltatoken") {
			continue
		}
		sc, ok := known[strings.ToLower(name)]
		switch {
		case !ok && strings.EqualFold(name, "$expand") && known["$select"] != nil:
			// It names $expand for lists alone; what may be expanded is what may be selected.
			sc = known["$select"]
		case !ok:
			wrong = append(wrong, "there is no "+name)
			continue
		}
		if sc == nil || sc.Items == nil || len(sc.Items.Enum) == 0 {
			continue
		}
		for _, v := range outside(query.Get(name)) {
			if strings.HasPrefix(v, "microsoft.graph.") && strings.Contains(v, "/") {
				continue // a property of a derived type: it lists the base's alone
			}
			if v != "" && !anyCase(sc.Items.Enum, v) {
				wrong = append(wrong, name+" has no "+v)
			}
		}
	}
	return wrong
}

// outside splits a list at the commas that stand in no parentheses, and drops what does.
func outside(list string) (out []string) {
	depth, item := 0, ""
	for _, r := range list {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case depth > 0:
		case r == ',':
			out, item = append(out, strings.TrimSpace(item)), ""
		default:
			item += string(r)
		}
	}
	return append(out, strings.TrimSpace(item))
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
	described := false
	for code, c := range o.Responses {
		sc := c.Content["application/json"].Schema
		if !strings.HasPrefix(code, "2") || sc == nil {
			continue
		}
		described = true
		if m, ok := v.(map[string]any); ok && sc.Type == "array" { // that is how it writes the answers of functions
			v = m["value"]
		}
		wrong = append(wrong, s.check(sc, v, "answer", 0)...)
	}
	if !described && o.RequestBody != nil && strings.EqualFold(method, http.MethodPatch) {
		// It says 204, and Graph answers with what was changed.
		wrong = s.check(o.RequestBody.Content["application/json"].Schema, v, "answer", 0)
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
	if sc.Type == "object" || len(sc.AllOf) > 0 {
		if m, ok := v.(map[string]any); ok {
			wrong = s.strangers(sc, m, at)
		}
	}
	return append(wrong, s.fits(sc, v, at, depth)...)
}

// strangers are names that an object may not have.
func (s *Spec) strangers(sc *schema, m map[string]any, at string) (wrong []string) {
	v, ok := s.named.Load(sc)
	if !ok {
		names := map[string]bool{}
		s.names(sc, names, 0)
		v, _ = s.named.LoadOrStore(sc, names)
	}
	known := v.(map[string]bool)
	if len(known) == 0 {
		return nil
	}
	for k := range m {
		if low := strings.ToLower(k); !known[low] && !strings.Contains(k, "@") && beyond[low] == "" {
			wrong = append(wrong, at+" has no property "+k)
		}
	}
	return wrong
}

func (s *Spec) names(sc *schema, into map[string]bool, depth int) {
	if sc == nil || depth > maxDepth {
		return
	}
	if sc.Ref != "" {
		s.names(s.schemas[strings.TrimPrefix(sc.Ref, "#/components/schemas/")], into, depth+1)
	}
	for k := range sc.Properties {
		into[strings.ToLower(k)] = true
	}
	for _, a := range sc.AllOf {
		s.names(a, into, depth+1)
	}
}

// fits checks all but the names of the object itself, which its parts (allOf) have together.
func (s *Spec) fits(sc *schema, v any, at string, depth int) (wrong []string) {
	if sc == nil || depth > maxDepth {
		return nil
	}
	if sc.Ref != "" {
		return s.fits(s.schemas[strings.TrimPrefix(sc.Ref, "#/components/schemas/")], v, at, depth+1)
	}
	for _, a := range sc.AllOf {
		wrong = append(wrong, s.fits(a, v, at, depth+1)...)
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

// Uncovered returns the methods, as Methods names them, of requests so far that Options.Spec has no path of; sorted.
func (s *Server) Uncovered() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.uncovered))
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
	covered, wrong := spec.Request(c.r.Method, path, c.query, c.r.Header, c.sent)
	wrong = append(wrong, spec.Answer(c.r.Method, path, res.status, res.header, res.body)...)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if covered {
		c.s.covered++
	} else {
		c.s.uncovered[c.m.name] = true
	}
	for _, w := range wrong {
		c.s.violations = append(c.s.violations, c.m.name+": "+w)
	}
}
