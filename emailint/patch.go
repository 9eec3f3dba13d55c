package emailint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// patched applies a JSON merge patch (RFC 7396) to settings: what it names is replaced, null takes away, lists are replaced whole. A secret that it
// gives as "" or SecretSet stays as it was: that is what a form sends back. Fields that nobody knows are errors.
func (s Settings) patched(patch []byte) (Settings, error) {
	into, err := object(s)
	if err != nil {
		return s, err
	}
	with, err := number(patch)
	if err != nil {
		return s, fmt.Errorf("the patch is no JSON: %w", err)
	}
	from, ok := with.(map[string]any)
	if !ok {
		return s, errors.New("the patch is not a JSON object")
	}
	merge(into, from)
	merged, err := json.Marshal(into)
	if err != nil {
		return s, err
	}
	var out Settings
	dec := json.NewDecoder(bytes.NewReader(merged))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&out); err != nil {
		wrong := (*json.UnmarshalTypeError)(nil)
		if errors.As(err, &wrong) {
			return s, &FieldError{Field: wrong.Field, Problem: fmt.Sprintf("it is a %s, and a %s is wanted", wrong.Value, wrong.Type)}
		}
		return s, errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	had := map[string]Secret{}
	s.eachSecret(func(path string, x Secret) Secret { had[path] = x; return x })
	out.eachSecret(func(path string, x Secret) Secret {
		if x == "" && !there(into, path) {
			return ""
		}
		if x == "" || x == SecretSet {
			return had[path]
		}
		return x
	})
	return out, nil
}

func object(v any) (map[string]any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	o, err := number(b)
	if err != nil {
		return nil, err
	}
	return o.(map[string]any), nil
}

// number reads JSON and leaves numbers as they are written.
func number(b []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, errors.New("something stands behind the value")
	}
	return v, nil
}

func merge(into, from map[string]any) {
	for k, v := range from {
		sub, isObject := v.(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case isObject:
			o, ok := into[k].(map[string]any)
			if !ok {
				o = map[string]any{}
				into[k] = o
			}
			merge(o, sub)
		default:
			into[k] = v
		}
	}
}

// there reports whether an object has a value at a path of names.
func there(o map[string]any, path string) bool {
	for {
		name, rest, more := strings.Cut(path, ".")
		v, ok := o[name]
		if !ok || !more {
			return ok
		}
		if o, ok = v.(map[string]any); !ok {
			return false
		}
		path = rest
	}
}
