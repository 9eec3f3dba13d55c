package postgres

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// texts turns the statements of package sqlstate into those of PostgreSQL, and keeps them.
type texts struct {
	schema string
	made   sync.Map // of a text, or a manyKey
}

func newTexts(schema string) *texts { return &texts{schema: schema} }

// of returns the statement that is sent for q.
func (x *texts) of(q string) string {
	if s, ok := x.made.Load(q); ok {
		return s.(string)
	}
	s := x.rewrite(q, nil)
	x.made.Store(q, s)
	return s
}

// manyKey is a statement with the types of its arguments, as letters.
type manyKey struct{ q, types string }

var typeNames = map[byte]string{'I': "bigint[]", 'S': "text[]", 'B': "bytea[]", 'T': "boolean[]", 'i': "bigint", 's': "text", 'b': "bytea", 't': "boolean"}

// each returns the statement that does q for all rows of its arguments, see sqlstate.Tx, with its arguments, and how many rows they are. For one row
// it is an ordinary statement: the planner takes arrays for longer, and reads whole small tables for them.
func (x *texts) each(q string, args []any) (string, []any, int, error) {
	letters := make([]byte, len(args))
	rows := -1
	one := make([]any, len(args))
	for i, a := range args {
		n := -1
		switch a := a.(type) {
		case []int64:
			letters[i], n, one[i] = 'I', len(a), first(a)
		case []string:
			letters[i], n, one[i] = 'S', len(a), first(a)
		case [][]byte:
			letters[i], n, one[i] = 'B', len(a), first(a)
		case []bool:
			letters[i], n, one[i] = 'T', len(a), first(a)
		case int64:
			letters[i], one[i] = 'i', a
		case string:
			letters[i], one[i] = 's', a
		case []byte:
			letters[i], one[i] = 'b', a
		case bool:
			letters[i], one[i] = 't', a
		default:
			return "", nil, 0, fmt.Errorf("postgres: argument %d of a statement for many rows has no type: %s", i+1, q)
		}
		if n >= 0 && rows >= 0 && n != rows {
			return "", nil, 0, fmt.Errorf("postgres: columns of %d and %d rows: %s", rows, n, q)
		}
		rows = max(rows, n)
	}
	if rows == 1 {
		args, letters = one, bytes.ToLower(letters)
	}
	key := manyKey{q, string(letters)}
	if s, ok := x.made.Load(key); ok {
		return s.(string), args, rows, nil
	}
	types := make([]string, len(args))
	for i, l := range letters {
		types[i] = typeNames[l]
	}
	s := x.rewrite(q, types)
	x.made.Store(key, s)
	return s, args, rows, nil
}

func first[T any](column []T) any {
	if len(column) == 0 {
		return nil
	}
	return column[0]
}

var (
	// A table is named in small letters behind one of these, which stand in capitals. A function has its parenthesis.
	tableName = regexp.MustCompile(`\b(FROM|JOIN|INTO|UPDATE)(\s+(?:/\*each\*/\s+)?)([a-z_]+)\b`)
	parameter = regexp.MustCompile(`\?[0-9]*`)
	words     = strings.NewReplacer("/*lock*/", "FOR NO KEY UPDATE", "/*claim*/", "FOR NO KEY UPDATE SKIP LOCKED",
		"/*clock*/", "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) + CAST(0 AS BIGINT) *")
)

// rewrite qualifies tables and numbers parameters. types are nil for a statement that is not for many rows.
func (x *texts) rewrite(q string, types []string) string {
	q = words.Replace(tableName.ReplaceAllString(q, "${1}${2}"+x.schema+".${3}"))
	n := 0
	q = parameter.ReplaceAllStringFunc(q, func(p string) string {
		n++
		no := n
		if p != "?" {
			no, _ = strconv.Atoi(p[1:])
		}
		switch {
		case types == nil:
			return "$" + strconv.Itoa(no)
		case strings.HasSuffix(types[no-1], "[]"):
			return "u.a" + strconv.Itoa(no)
		}
		return "$" + strconv.Itoa(no) + "::" + types[no-1]
	})
	if types == nil {
		return q
	}
	var arrays, columns []string
	for i, t := range types {
		if strings.HasSuffix(t, "[]") {
			arrays = append(arrays, fmt.Sprintf("$%d::%s", i+1, t))
			columns = append(columns, fmt.Sprintf("a%d", i+1))
		}
	}
	if len(arrays) == 0 {
		return strings.NewReplacer("FROM /*each*/", "FROM", "/*each*/", "").Replace(q)
	}
	from := "unnest(" + strings.Join(arrays, ", ") + ") AS u(" + strings.Join(columns, ", ") + ")"
	q = strings.ReplaceAll(q, "FROM /*each*/", "FROM "+from+",")
	return strings.Replace(q, "/*each*/", "FROM "+from, 1)
}
