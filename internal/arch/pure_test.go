package arch

import (
	"go/ast"
	"slices"
	"testing"
)

// pure packages decide from their arguments alone, so that a table of cases is a whole test and a decision can be replayed.
var pure = []string{"gateway/autoscale", "gateway/placement", "imagebuilder/recipe", "imagebuilder/llb"}

// impure are standard packages that reach outside a function's arguments.
var impure = []string{"os", "os/exec", "os/signal", "net", "net/http", "sync", "syscall", "log/slog", "math/rand", "math/rand/v2", "crypto/rand"}

func TestPurePackages(t *testing.T) {
	for _, f := range sources(t) {
		if !slices.Contains(pure, f.pkg) {
			continue
		}
		for _, imported := range f.imports {
			if slices.Contains(impure, imported) {
				t.Errorf("%s imports %s: %s decides from its arguments alone", f.path, imported, f.pkg)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine: %s is pure", f.line(n), f.pkg)
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until"}, n.Sel.Name) {
					t.Errorf("%s reads the clock: in %s now is an argument", f.line(n), f.pkg)
				}
			}
			return true
		})
	}
}

// runscPackages are the only ones that may name runsc's subcommands; all others ask them.
func TestOnlyGvisorPackagesRunRunsc(t *testing.T) {
	allowed := []string{"worker/gvisor", "imagebuilder/runtime"}
	for _, f := range sources(t) {
		if !slices.Contains(f.imports, "os/exec") || slices.Contains(allowed, f.pkg) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			fun, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || (fun.Sel.Name != "Command" && fun.Sel.Name != "CommandContext") {
				return true
			}
			for _, arg := range call.Args {
				if lit, ok := arg.(*ast.BasicLit); ok && lit.Value == `"runsc"` {
					t.Errorf("%s runs runsc: only worker/gvisor and imagebuilder/runtime do", f.line(call))
				}
			}
			return true
		})
	}
}
