package tomlscan

import "strings"

// plainValues returns the values of a file that holds nothing but tables of texts and of
// lists of texts, in double quotes, of printable ASCII and without an escape, as nearly
// every package.toml does. It reports false for any other file, which the decoder reads. The
// scan has found no error, and its keys are not odd. (The decoder takes more time than all
// else that is done with a package.toml.)
func (f *File) plainValues(data []byte) (map[string]any, bool) {
	for _, c := range data {
		if (c < ' ' || c > '~') && c != '\n' && c != '\t' {
			return nil, false
		}
	}
	text := string(data)
	f.top.table = map[string]any{}
	for _, k := range f.Keys {
		above := k.parent.table
		switch {
		case above == nil: // it has a value
			return nil, false
		case k.Value.End == 0:
			k.table = map[string]any{}
			above[k.Name] = k.table
		default:
			value, ok := plainValue(text[k.Value.Start:k.Value.End])
			if !ok {
				return nil, false
			}
			above[k.Name] = value
		}
	}
	return f.top.table, true
}

// plainValue returns a text or a list of texts.
func plainValue(s string) (value any, ok bool) {
	if !strings.HasPrefix(s, "[") {
		text, rest, ok := plainText(s)
		return text, ok && rest == ""
	}
	list := []any{}
	for s = trimBlanks(s[1:]); s != "]"; {
		text, rest, ok := plainText(s)
		if !ok {
			return nil, false
		}
		list = append(list, text)
		rest = trimBlanks(rest)
		if after, comma := strings.CutPrefix(rest, ","); comma {
			rest = trimBlanks(after)
		} else if rest != "]" {
			return nil, false
		}
		s = rest
	}
	return list, true
}

func trimBlanks(s string) string { return strings.TrimLeft(s, " \t\n") }

// plainText cuts a text in double quotes from s, which is printable ASCII and blanks.
func plainText(s string) (text, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, `"`)
	if !ok {
		return "", "", false
	}
	text, rest, ok = strings.Cut(s, `"`)
	return text, rest, ok && !strings.ContainsAny(text, "\\\t\n")
}
