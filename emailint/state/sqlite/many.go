package sqlite

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"github.com/intellicon/email-integration/emailint/state/internal/sqlstate"
)

// sizes are the numbers of rows for which there are statements, so that these are few. Most of what a short statement costs is to begin and to end
// it. Measured with 200 rows: looking up hashes took a tenth of the time of 200 statements, inserting two columns half of it.
var sizes = []int{64, 8, 1}

// manyKey is a statement as it is for a number of rows of arguments. columns has a letter for each argument: c for a column.
type manyKey struct {
	query, columns string
	rows           int
}

// Each implements sqlstate.Tx.
func (t *tx) Each(ctx context.Context, f func(sqlstate.Scanner) error, q string, args []any) error {
	rows, columns := 0, make([]byte, len(args))
	for i, a := range args {
		columns[i] = 'c'
		switch a := a.(type) {
		case []int64:
			rows = len(a)
		case [][]byte:
			rows = len(a)
		case []string:
			rows = len(a)
		case []bool:
			rows = len(a)
		default:
			columns[i] = '-'
		}
	}
	for at := 0; at < rows; {
		n := 1
		for _, size := range sizes {
			if rows-at >= size {
				n = size
				break
			}
		}
		text := q
		if n > 1 {
			text = t.file.many(manyKey{q, string(columns), n})
		}
		var err error
		if now := arguments(args, string(columns), at, n); f == nil {
			err = t.Do(ctx, text, now)
		} else {
			err = t.Query(ctx, f, text, now)
		}
		if err != nil {
			return err
		}
		at += n
	}
	return nil
}

// EachLater implements sqlstate.Tx.
func (t *tx) EachLater(ctx context.Context, f func(sqlstate.Scanner) error, q string, args []any) error {
	return t.Each(ctx, f, q, args)
}

// arguments returns those of a statement for n rows from one on: for one row in the order of args, else first what is no column, then row by row.
func arguments(args []any, columns string, at, n int) []any {
	out := make([]any, 0, n*len(args))
	for i, a := range args {
		switch {
		case columns[i] != 'c':
			out = append(out, a)
		case n == 1:
			out = append(out, element(a, at))
		}
	}
	if n == 1 {
		return out
	}
	for k := at; k < at+n; k++ {
		for i, a := range args {
			if columns[i] == 'c' {
				out = append(out, element(a, k))
			}
		}
	}
	return out
}

func element(column any, i int) any {
	switch c := column.(type) {
	case []int64:
		return c[i]
	case []string:
		return c[i]
	case []bool:
		return c[i]
	case [][]byte:
		if c[i] != nil {
			return c[i]
		}
	}
	return nil // as the driver knows NULL
}

// many returns the text of a statement for several rows.
func (f *file) many(k manyKey) string {
	if text, ok := f.texts.Load(k); ok {
		return text.(string)
	}
	text := manyText(k)
	f.texts.Store(k, text)
	return text
}

var parameter = regexp.MustCompile(`\?[0-9]*`)

func manyText(k manyKey) string {
	constants := strings.Count(k.columns, "-")
	width := len(k.columns) - constants
	place := make([]string, len(k.columns))
	constant, column := 0, 0
	for i, c := range k.columns {
		if c == 'c' {
			column++
			place[i] = "u.column" + strconv.Itoa(column)
		} else {
			constant++
			place[i] = "?" + strconv.Itoa(constant)
		}
	}
	n := 0
	q := parameter.ReplaceAllStringFunc(k.query, func(p string) string {
		n++
		no := n
		if p != "?" {
			no, _ = strconv.Atoi(p[1:])
		}
		return place[no-1]
	})
	twice := strings.Count(k.query, "/*each*/") > 1
	var values strings.Builder
	for r := range k.rows {
		for c := range width {
			values.WriteString([]string{", (", ", "}[min(c, 1)])
			// Binding looks a numbered one up in a list of all that are: where they are named once only the first has its number, from which the
			// others count on.
			values.WriteString("?")
			if twice || r == 0 && c == 0 {
				values.WriteString(strconv.Itoa(constants + r*width + c + 1))
			}
		}
		values.WriteString(")")
	}
	from := "FROM (VALUES " + strings.TrimPrefix(values.String(), ", ") + ") AS u"
	// Read in this order: the rows first.
	q = strings.ReplaceAll(q, "FROM /*each*/", from+" CROSS JOIN")
	return strings.ReplaceAll(q, "/*each*/", from)
}
