package postgres

// Text returns the statement that is sent for one of package sqlstate.
func Text(schema, q string) string { return newTexts(schema).of(q) }
