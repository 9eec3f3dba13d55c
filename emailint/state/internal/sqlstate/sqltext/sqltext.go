// Package sqltext reads the statements out of a package's source, for tests of how a database plans them.
package sqltext

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
)

// Statements returns every statement in the Go files of a directory, but its tests, by its place in the source.
func Statements(dir string) (map[string]string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	consts := map[string]string{}
	var text func(e ast.Expr) string
	text = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BasicLit:
			if e.Kind == token.STRING {
				s, _ := strconv.Unquote(e.Value)
				return s
			}
		case *ast.Ident:
			return consts[e.Name]
		case *ast.BinaryExpr:
			return text(e.X) + text(e.Y)
		}
		return ""
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
				consts[v.Names[0].Name] = text(v.Values[0])
			}
			return true
		})
	}
	out := map[string]string{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			s := strings.TrimSpace(text(e))
			for _, verb := range []string{"SELECT ", "UPDATE ", "DELETE ", "INSERT "} {
				if strings.HasPrefix(s, verb) {
					p := fset.Position(e.Pos())
					out[filepath.Base(p.Filename)+":"+strconv.Itoa(p.Line)] = s
					return false
				}
			}
			return true
		})
	}
	if len(out) < 100 {
		return nil, fmt.Errorf("only %d statements were found: there are more", len(out))
	}
	return out, nil
}

// Parameters returns how many arguments a statement takes.
func Parameters(q string) int {
	n := strings.Count(q, "?")
	if !strings.Contains(q, "?1") {
		return n
	}
	most := 0
	for i := 1; i <= n; i++ {
		if strings.Contains(q, "?"+strconv.Itoa(i)) {
			most = i
		}
	}
	return most
}
