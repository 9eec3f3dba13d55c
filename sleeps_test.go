package emailintegration_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Tests wait for signals, not for time: a pause is too short on a slow machine and too long on every other. A file that runs in a
// synctest bubble may, its clock is not the wall's. Elsewhere a line may say why it must, in a comment on it or right above that
// begins with wallClock.
const wallClock = "// wall clock: "

func TestNoTestSleeps(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		seen++
		found, err := sleeps(path, nil)
		for _, s := range found {
			t.Error(s)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Fatalf("only %d test files were looked at", seen)
	}
}

// sleeps returns what a test file does by the clock, each with its place. src is as in parser.ParseFile.
func sleeps(path string, src any) ([]string, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, src, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	for _, imp := range f.Imports {
		if p, err := strconv.Unquote(imp.Path.Value); err == nil && p == "testing/synctest" {
			return nil, nil
		}
	}
	excused := map[int]bool{} // lines
	for _, g := range f.Comments {
		for _, c := range g.List {
			if strings.HasPrefix(c.Text, wallClock) && len(c.Text) > len(wallClock) {
				line := fset.Position(c.Pos()).Line
				excused[line], excused[line+1] = true, true
			}
		}
	}
	var out []string
	complain := func(n ast.Node, what string) {
		if pos := fset.Position(n.Pos()); !excused[pos.Line] {
			out = append(out, fmt.Sprintf("%s:%d: %s", path, pos.Line, what))
		}
	}
	guards := map[*ast.CallExpr]bool{} // time.After of a select's case that fails the test: it waits for nothing
	for _, decl := range f.Decls {
		elapsed := map[string]bool{} // variables of the function that hold a time.Since
		ast.Inspect(decl, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CommClause:
				if call := received(n.Comm); call != nil && fails(n.Body) {
					guards[call] = true
				}
			case *ast.AssignStmt:
				for i, r := range n.Rhs {
					if id, ok := n.Lhs[i].(*ast.Ident); ok && len(n.Lhs) == len(n.Rhs) && holds(r, nil) {
						elapsed[id.Name] = true
					}
				}
			case *ast.CallExpr:
				switch name := timeFunc(n); {
				case name == "Sleep", name == "After" && !guards[n]:
					complain(n, "time."+name+" waits for something: wait for a signal of it, or in a synctest bubble")
				case name == "AfterFunc":
					complain(n, "time.AfterFunc does something by the clock: do it when a signal says so")
				}
			case *ast.BinaryExpr:
				switch n.Op {
				case token.LSS, token.GTR, token.LEQ, token.GEQ, token.EQL, token.NEQ:
					if holds(n.X, elapsed) || holds(n.Y, elapsed) {
						complain(n, "elapsed time is compared: it says how busy the machine is")
					}
				}
			}
			return true
		})
	}
	slices.Sort(out)
	return out, nil
}

// timeFunc returns the name of the function of package time that is called, "" for any other.
func timeFunc(c *ast.CallExpr) string {
	if sel, ok := c.Fun.(*ast.SelectorExpr); ok {
		if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" {
			return sel.Sel.Name
		}
	}
	return ""
}

// received returns the call in "case <-time.After(…)".
func received(comm ast.Stmt) *ast.CallExpr {
	e, ok := comm.(*ast.ExprStmt)
	if !ok {
		return nil
	}
	u, ok := e.X.(*ast.UnaryExpr)
	if !ok || u.Op != token.ARROW {
		return nil
	}
	call, _ := u.X.(*ast.CallExpr)
	return call
}

// fails reports whether statements end the test as failed.
func fails(body []ast.Stmt) bool {
	found := false
	for _, s := range body {
		ast.Inspect(s, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok {
				if sel, ok := c.Fun.(*ast.SelectorExpr); ok {
					found = found || slices.Contains([]string{"Fatal", "Fatalf", "Error", "Errorf"}, sel.Sel.Name)
				}
			}
			return true
		})
	}
	return found
}

// holds reports whether an expression is made of time.Since, or of a variable that holds one.
func holds(e ast.Expr, elapsed map[string]bool) bool {
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			found = found || timeFunc(n) == "Since"
		case *ast.Ident:
			found = found || elapsed[n.Name]
		}
		return true
	})
	return found
}

func TestSleepsAreSeen(t *testing.T) {
	for body, want := range map[string]int{
		`time.Sleep(time.Second)`:                                               1,
		`<-time.After(time.Second)`:                                             1,
		`time.AfterFunc(time.Second, f)`:                                        1,
		`select { case <-c: case <-time.After(time.Second): }`:                  1,
		`select { case <-c: case <-time.After(time.Minute): t.Fatal("hangs") }`: 0,
		`if time.Since(start) > time.Second { t.Error() }`:                      1,
		`if err != nil || time.Since(start) > time.Second { t.Error() }`:        1,
		`d := time.Since(start); if d.Seconds() > 3 { t.Error() }`:              1,
		`t.Log(time.Since(start))`:                                              0,
		`time.Sleep(time.Second) // wall clock: the server counts seconds`:      0,
		"// wall clock: the server counts seconds\n\ttime.Sleep(time.Second)":   0,
		`time.Sleep(time.Second) // wall clock: `:                               1,
		`w.Sleep(time.Second)`:                                                  0,
	} {
		src := "package x\n\nimport (\n\t\"testing\"\n\t\"time\"\n)\n\nfunc TestX(t *testing.T) {\n\t" + body + "\n}\n"
		got, err := sleeps("x_test.go", src)
		if err != nil {
			t.Errorf("%s: %v", body, err)
		}
		if len(got) != want {
			t.Errorf("%s: %q, want %d", body, got, want)
		}
	}
	bubble := "package x\n\nimport \"testing/synctest\"\n\nfunc f() { time.Sleep(time.Second) }\n"
	if got, err := sleeps("x_test.go", bubble); err != nil || len(got) != 0 {
		t.Errorf("in a bubble: %q, %v", got, err)
	}
}
