package postgres

import "io/fs"

// Rewrite returns the statement that is sent for one of package sqlstate that is not for many rows.
func Rewrite(schema, q string) string { return newTexts(schema).of(q) }

// Migrations returns the texts of all migrations.
func Migrations() (out []string) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is constant
	}
	for _, n := range names {
		text, err := migrations.ReadFile(n)
		if err != nil {
			panic(err) // it was listed
		}
		out = append(out, string(text))
	}
	return out
}
