package message

// FieldError is one wrong field of a value that somebody typed. Validate methods join one for each.
type FieldError struct {
	Field   string // its path in JSON, as in rules.excluded_domains[2].domain
	Problem string // a sentence; it never holds a secret
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }
