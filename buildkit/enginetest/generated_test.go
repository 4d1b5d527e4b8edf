package enginetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// outputsEnv sets how many outputs the generated tree has; upstream's has 513.
const outputsEnv = "SX_TEST_OUTPUTS"

// shape is a tree like StageX's, but of files that are only copied: one chain of 35
// outputs, a family that shares a definition, and between them outputs with up to
// seven dependencies.
type shape struct {
	order []*member // each after all that it is built from
	by    map[string]*member
}

// member is an output. It has two files of its own, /own/<name> and /data/<name>.
type member struct {
	name   string
	dir    string   // its definition's
	wide   []string // dependencies of which it takes everything
	narrow []string // dependencies of which it takes /data/<name> only
}

const (
	chainLength  = 35
	familyLength = 9
	maxDeps      = 7
)

func newShape(size int) *shape {
	s := &shape{by: map[string]*member{}}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range chainLength {
		m := &member{name: fmt.Sprintf("core-c%02d", i)}
		if i > 0 { // what is edited below reaches a third of the chain
			prev := []string{s.order[i-1].name}
			if i < chainLength/3 {
				m.wide = prev
			} else {
				m.narrow = prev
			}
		}
		s.add(m)
	}
	family := s.random(random, "pallet-f0")
	for i := range familyLength {
		m := *family
		m.name, m.dir = fmt.Sprintf("pallet-f%d", i), "packages/pallet/family"
		s.add(&m)
	}
	for i := len(s.order); i < size; i++ {
		s.add(s.random(random, fmt.Sprintf("user-u%03d", i)))
	}
	return s
}

func (s *shape) add(m *member) {
	if m.dir == "" {
		m.dir = "packages/" + strings.Replace(m.name, "-", "/", 1)
	}
	s.order = append(s.order, m)
	s.by[m.name] = m
}

// random returns an output that depends on some of the existing ones.
func (s *shape) random(random *rand.Rand, name string) *member {
	m := &member{name: name}
	for _, i := range random.Perm(len(s.order))[:1+random.IntN(maxDeps)] {
		if dep := s.order[i].name; random.IntN(3) == 0 {
			m.wide = append(m.wide, dep)
		} else {
			m.narrow = append(m.narrow, dep)
		}
	}
	return m
}

func (s *shape) write(t *Tree) {
	families := map[string][]*member{}
	for _, m := range s.order {
		families[m.dir] = append(families[m.dir], m)
	}
	for dir, members := range families {
		var file strings.Builder
		stage := func(m *member) {
			for _, dep := range m.wide {
				fmt.Fprintf(&file, "COPY --from=stagex/%s / /\n", dep)
			}
			for _, dep := range m.narrow {
				fmt.Fprintf(&file, "COPY --from=stagex/%s /data/%s /data/%s\n", dep, dep, dep)
			}
		}
		manifest := fmt.Sprintf("[package]\nname = %q\n", filepath.Base(dir))
		if len(members) > 1 {
			var names []string
			file.WriteString("FROM scratch AS shared\n")
			stage(members[0])
			for _, m := range members {
				_, name, _ := strings.Cut(m.name, "-")
				names = append(names, strconv.Quote(name))
				fmt.Fprintf(&file, "FROM shared AS package-%s\nCOPY %s/ /\n", name, m.name)
			}
			manifest += fmt.Sprintf("subpackages = [%s]\n", strings.Join(names, ", "))
		} else {
			file.WriteString("FROM scratch\n")
			stage(members[0])
			fmt.Fprintf(&file, "COPY %s/ /\n", members[0].name)
		}
		t.Write(dir+"/package.toml", []byte(manifest))
		t.Write(dir+"/Containerfile", []byte(file.String()))
		for _, m := range members {
			t.Write(m.own(), []byte(m.name+"\n"))
			t.Write(dir+"/"+m.name+"/data/"+m.name, []byte("data\n"))
		}
	}
}

func (m *member) own() string { return m.dir + "/" + m.name + "/own/" + m.name }

// edit returns the effects of an edit of a member's own file: all its dependents at
// any distance, and those of them that must be built because the bytes of a
// dependency changed.
func (s *shape) edit(name string) (above, built []string) {
	changed, depends := map[string]bool{name: true}, map[string]bool{name: true}
	built = []string{name}
	for _, m := range s.order {
		deps := slices.Concat(m.wide, m.narrow)
		if slices.ContainsFunc(deps, func(d string) bool { return depends[d] }) {
			depends[m.name] = true
			above = append(above, m.name)
		}
		if slices.ContainsFunc(deps, func(d string) bool { return changed[d] }) {
			built = append(built, m.name)
		}
		if slices.ContainsFunc(m.wide, func(d string) bool { return changed[d] }) {
			changed[m.name] = true
		}
	}
	slices.Sort(built)
	return above, built
}

// logs counts the logs of each output; every build adds one.
func (t *Tree) logs() map[string]int {
	t.t.Helper()
	files, err := filepath.Glob(t.Path(".sx/logs/*/*.log"))
	t.must(err)
	n := map[string]int{}
	for _, file := range files {
		n[filepath.Base(filepath.Dir(file))]++
	}
	return n
}

// builds runs sx build --all and returns which outputs it built, by the logs, which
// must agree with its output.
func (t *Tree) builds() (built []string, saved int) {
	t.t.Helper()
	before := t.logs()
	r := t.Start("build", "--all").Want(0)
	for name, n := range t.logs() {
		if n > before[name] {
			built = append(built, name)
		}
	}
	slices.Sort(built)
	words := regexp.MustCompile(`sx: (\d+) built, \d+ up to date, (\d+) unchanged`).FindStringSubmatch(r.Stderr.String())
	if words == nil || words[1] != strconv.Itoa(len(built)) {
		t.t.Errorf("%d logs are new, but sx says %q", len(built), words)
		return built, 0
	}
	saved, err := strconv.Atoi(words[2])
	t.must(err)
	return built, saved
}

// In a tree with the shape of upstream's, sx builds exactly the outputs that must be
// built.
func TestGeneratedTree(t *testing.T) {
	t.Parallel()
	size := 56
	if text := os.Getenv(outputsEnv); text != "" {
		var err error
		if size, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	s := newShape(size)
	tree := NewTree(t, programs, "", "")
	tree.Patience = time.Duration(size) * 3 * time.Second
	s.write(tree)
	if built, _ := tree.builds(); len(built) != size {
		t.Errorf("the first time %d of %d were built", len(built), size)
	}
	tree.Sx("digests", "--write")
	if built, saved := tree.builds(); len(built) != 0 || saved != 0 {
		t.Errorf("with nothing to do, built %q, saved %d", built, saved)
	}

	bottom := s.order[0]
	above, want := s.edit(bottom.name)
	plan := tree.Sx("build", "--all", "--dry-run")
	if !strings.Contains(plan, fmt.Sprintf("%d outputs: 0 to build", size)) {
		t.Errorf("with nothing to do the plan is:\n%s", plan)
	}
	file := bottom.dir + "/Containerfile"
	tree.Write(file, []byte(tree.Read(file)+"# a comment\n"))
	plan = tree.Sx("build", "--all", "--dry-run")
	if !strings.Contains(plan, fmt.Sprintf("%s: build, because %s changed\n", bottom.name, file)) || strings.Count(plan, ": build, ") != len(above)+1 {
		t.Errorf("want %d steps:\n%s", len(above)+1, plan)
	}
	if built, saved := tree.builds(); !slices.Equal(built, []string{bottom.name}) || saved != len(above) {
		t.Errorf("for a comment at the bottom, built %q, saved %d of %d", built, saved, len(above))
	}
	if out := tree.Sx("verify"); !strings.Contains(out, fmt.Sprintf("%d outputs: %d MATCH", size, size)) {
		t.Errorf("after a comment:\n%s", out)
	}

	tree.must(os.RemoveAll(tree.Path("digests"))) // without git an edit would be a MISMATCH
	tree.Write(bottom.own(), []byte("edited\n"))
	if len(want) < size/8 || len(want) > len(above) {
		t.Fatalf("the tree's shape is no test: %d of %d", len(want), len(above))
	}
	if built, saved := tree.builds(); !slices.Equal(built, want) || saved != len(above)+1-len(want) {
		t.Errorf("for an edit at the bottom, built %q,\nwant %q;\nsaved %d, want %d", built, want, saved, len(above)+1-len(want))
	}
	if built, _ := tree.builds(); len(built) != 0 {
		t.Errorf("then built %q", built)
	}
	t.Logf("%d outputs, %d above the bottom, %d built for an edit of it", size, len(above), len(want))
}
