package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	module = "github.com/skerry-dev/skerry"
	root   = "../.."
)

// goFile is one parsed Go file of the module, generated code left out.
type goFile struct {
	path    string // below the checkout, with slashes
	pkg     string // import path below the module, such as "gateway/call"
	test    bool
	imports []string
	lines   int
	ast     *ast.File
	fset    *token.FileSet
}

// line is where a node starts, for messages.
func (f *goFile) line(n ast.Node) string {
	return f.path + ":" + strconv.Itoa(f.fset.Position(n.Pos()).Line)
}

// own returns the imports that are packages of this module, without the module's prefix.
func (f *goFile) own() []string {
	var own []string
	for _, imported := range f.imports {
		if rest, ok := strings.CutPrefix(imported, module+"/"); ok {
			own = append(own, rest)
		}
	}
	return own
}

var parsed = sync.OnceValues(func() ([]*goFile, error) {
	var files []*goFile
	err := walk(".go", func(name string, src []byte) error {
		if strings.HasPrefix(name, "internal/gen/") || strings.HasPrefix(name, "tools/") {
			return nil
		}
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, name, src, parser.ParseComments)
		if err != nil {
			return err
		}
		f := &goFile{path: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), ast: tree, fset: fset}
		f.lines = strings.Count(string(src), "\n")
		for _, spec := range tree.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported)
		}
		files = append(files, f)
		return nil
	})
	return files, err
})

// goFiles returns every Go file of the module.
func goFiles(t *testing.T) []*goFile {
	t.Helper()
	files, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// sources returns the Go files that are not tests.
func sources(t *testing.T) []*goFile {
	t.Helper()
	return slices.DeleteFunc(slices.Clone(goFiles(t)), func(f *goFile) bool { return f.test })
}

// skipped are folders that are not ours, or not source.
var skipped = []string{"bin", "dist", "node_modules", "build", "__pycache__", "out", "_gen"}

// walk calls visit with every file of the checkout that ends so.
func walk(suffix string, visit func(name string, src []byte) error) error {
	return filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			if name != root && (strings.HasPrefix(base, ".") || slices.Contains(skipped, base)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, suffix) {
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		return visit(filepath.ToSlash(relative), src)
	})
}

// within reports whether a package is dir or below it. A dir such as "*rpc" or "*link" is matched against the package's last element.
func within(pkg, dir string) bool {
	if pattern, ok := strings.CutPrefix(dir, "*"); ok {
		return strings.HasSuffix(pkg, pattern)
	}
	return pkg == dir || strings.HasPrefix(pkg, dir+"/")
}
