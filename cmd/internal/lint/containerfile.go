package lint

import (
	"bytes"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"codeberg.org/stagex/sx/cmd/internal/relations"
	"codeberg.org/stagex/sx/graph"
)

// containerfile is a parsed Containerfile.
type containerfile struct {
	*graph.Definition
	path   string
	global []statement // before the first FROM
	stages []stage
}

// stage is the statements of one stage, FROM first.
type stage struct {
	name, base string // lower case
	statements []statement
}

// statement is an instruction with the text of its here-documents.
type statement struct {
	line    int
	keyword string // lower case
	text    string
	command any // of package instructions; nil before the first FROM, and for FROM
}

func readContainerfile(d *graph.Definition) (*containerfile, error) {
	parsed, err := parser.Parse(bytes.NewReader(d.Containerfile))
	if err != nil {
		return nil, err
	}
	c := &containerfile{Definition: d, path: d.Dir + "/Containerfile"}
	for _, node := range parsed.AST.Children {
		s := statement{line: node.StartLine, keyword: strings.ToLower(node.Value), text: node.Original}
		for _, doc := range node.Heredocs {
			s.text += "\n" + doc.Content
		}
		parsed, err := instructions.ParseInstruction(node)
		if err != nil {
			return nil, err
		}
		if from, ok := parsed.(*instructions.Stage); ok {
			c.stages = append(c.stages, stage{strings.ToLower(from.Name), strings.ToLower(from.BaseName), []statement{s}})
			continue
		}
		s.command = parsed
		if n := len(c.stages); n > 0 {
			c.stages[n-1].statements = append(c.stages[n-1].statements, s)
		} else {
			c.global = append(c.global, s)
		}
	}
	return c, nil
}

// unusedSources finds sources whose file no instruction names. A variable stands for any
// text, and a folder for all that is in it, so that a source is unused for certain.
func (c *containerfile) unusedSources() (findings []Finding) {
	m, err := readManifest(c.Definition)
	if err != nil {
		return nil // Load has read it
	}
	for _, s := range c.Sources {
		if !slices.ContainsFunc(c.stages, func(st stage) bool {
			return slices.ContainsFunc(st.statements, func(x statement) bool { return x.uses(s.File) })
		}) {
			findings = append(findings, found(unusedSource, m.path, m.file.Line("sources", s.Key), "no instruction of the Containerfile uses fetch/%s", s.File))
		}
	}
	return findings
}

// uses reports whether a statement may read the source with this file name.
func (s statement) uses(file string) bool {
	var sources []string
	from := ""
	switch command := s.command.(type) {
	case *instructions.AddCommand:
		sources = command.SourcePaths
	case *instructions.CopyCommand:
		sources, from = command.SourcePaths, command.From
	case *instructions.RunCommand:
		return strings.Contains(s.text, file) || runReads(command)
	default:
		return false
	}
	for _, source := range sources {
		if from == "fetch" && covers(source, file) || from == "" && covers(source, "fetch/"+file) {
			return true
		}
	}
	return false
}

// runReads reports whether a RUN mounts the build context or the sources.
func runReads(command *instructions.RunCommand) bool {
	for _, m := range instructions.GetMounts(command) {
		if m.Type == instructions.MountTypeBind && (m.From == "" || m.From == "fetch") {
			return true
		}
	}
	return false
}

var variable = regexp.MustCompile(`\$\{[^}]*\}|\$[A-Za-z_][A-Za-z0-9_]*`)

// covers reports whether a source path of ADD or COPY may be, match or hold a file.
func covers(source, file string) bool {
	pattern := path.Clean("/" + variable.ReplaceAllString(source, "*"))
	for name := "/" + file; ; name = path.Dir(name) {
		if ok, err := path.Match(pattern, name); ok || err != nil {
			return true
		}
		if name == "/" {
			return false
		}
	}
}

// network finds the RUNs that may use the network.
func (c *containerfile) network() (findings []Finding) {
	for _, st := range c.stages {
		for _, s := range st.statements {
			if run, ok := s.command.(*instructions.RunCommand); ok && instructions.GetNetwork(run) != instructions.NetworkNone {
				findings = append(findings, found(runNetwork, c.path, s.line, "RUN may use the network: add --network=none, or fetch what it needs as a source"))
			}
		}
	}
	return findings
}

// stageOrder finds dependencies on a later stage of the distribution.
func (c *containerfile) stageOrder(g *graph.Graph) (findings []Finding) {
	own := slices.Index(graph.Stages, c.Stage)
	told := map[graph.Ref]bool{}
	for _, ref := range c.Outputs {
		for _, dep := range g.Output(ref).Deps {
			if slices.Index(graph.Stages, dep.Stage) <= own || told[dep] {
				continue
			}
			told[dep] = true
			findings = append(findings, found(stageOrder, c.path, relations.Line(nil, g.Output(ref), dep), "the stage %s depends on %s", c.Stage, dep))
		}
	}
	return findings
}

// names reports whether a text has a word, not as a part of a longer one.
func names(text, word string) bool {
	part := func(b byte) bool {
		return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
	}
	for at := 0; ; {
		i := strings.Index(text[at:], word)
		if i < 0 {
			return false
		}
		i += at
		end := i + len(word)
		if (i == 0 || !part(text[i-1])) && (end == len(text) || !part(text[end])) {
			return true
		}
		at = i + 1
	}
}

// wordsOfFolder returns the text of the other files of the definition's folder, which a step
// may read variables in.
func (s Subject) wordsOfFolder(d *graph.Definition) (string, error) {
	snapshot, err := graph.Snapshot(s.Tree, d)
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, f := range snapshot {
		if f.Mode&fs.ModeType == 0 && f.Path != "Containerfile" && f.Path != "package.toml" {
			all.Write(f.Data)
			all.WriteByte('\n')
		}
	}
	return all.String(), nil
}
