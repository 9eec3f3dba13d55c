package postgres

// Rewrite returns the statement that is sent for one of package sqlstate that is not for many rows.
func Rewrite(schema, q string) string { return newTexts(schema).of(q) }
