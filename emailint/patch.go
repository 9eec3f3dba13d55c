package emailint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"strings"
)

// patched applies a JSON merge patch (RFC 7396) to settings: what it names is replaced, null takes away what was saved, so that the default holds, lists
// are replaced whole. A secret that it gives as "" or SecretSet stays as it was: that is what a form sends back. Fields that nobody knows are errors.
func (s Settings) patched(patch []byte, defaults Settings) (Settings, error) {
	into, err := object(s)
	if err != nil {
		return s, err
	}
	otherwise, err := object(defaults)
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
	if err := known(reflect.TypeFor[Settings](), from, ""); err != nil {
		return s, err
	}
	merge(into, from, withoutBlanks(otherwise))
	merged, err := json.Marshal(into)
	if err != nil {
		return s, err
	}
	var out Settings
	dec := json.NewDecoder(bytes.NewReader(merged))
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
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind the value")
	}
	return v, nil
}

// known refuses names that are no field's. Package json takes "SMTP" for "smtp": beside that it would set what only one of the two names.
func known(t reflect.Type, v any, path string) error {
	var errs []error
	switch v := v.(type) {
	case map[string]any:
		for k, sub := range v {
			at := strings.TrimPrefix(path+"."+k, ".")
			switch t.Kind() {
			case reflect.Map:
				errs = append(errs, known(t.Elem(), sub, at))
			case reflect.Struct:
				f, ok := field(t, k)
				if !ok {
					errs = append(errs, &FieldError{Field: at, Problem: "there is no such field"})
					continue
				}
				errs = append(errs, known(f.Type, sub, at))
			}
		}
	case []any:
		for i, sub := range v {
			if t.Kind() == reflect.Slice {
				errs = append(errs, known(t.Elem(), sub, fmt.Sprintf("%s[%d]", path, i)))
			}
		}
	}
	return errors.Join(errs...)
}

// field returns the field of a struct that has a name in JSON.
func field(t reflect.Type, name string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); tag == name && tag != "-" {
			return t.Field(i), true
		}
	}
	return reflect.StructField{}, false
}

// merge changes an object by a patch. otherwise is what holds where nothing is saved.
func merge(into, from, otherwise map[string]any) {
	for k, v := range from {
		sub, isObject := v.(map[string]any)
		def, isDefault := otherwise[k]
		switch {
		case v == nil && isDefault:
			into[k] = def
		case v == nil:
			delete(into, k)
		case isObject:
			o, ok := into[k].(map[string]any)
			if !ok {
				o = map[string]any{}
				into[k] = o
			}
			def, _ := def.(map[string]any)
			merge(o, sub, def)
		default:
			into[k] = v
		}
	}
}

// withoutBlanks drops "" from an object: the zero value holds without, and a secret that is "" would be one that stays.
func withoutBlanks(o map[string]any) map[string]any {
	maps.DeleteFunc(o, func(_ string, v any) bool {
		if sub, ok := v.(map[string]any); ok {
			withoutBlanks(sub)
		}
		return v == ""
	})
	return o
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
