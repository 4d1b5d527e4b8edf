package imagediff

import "codeberg.org/stagex/sx/cache/oci"

// A What is the respect in which two images differ.
type What string

// The respects. Those of files come with a layer and a path.
const (
	Platforms   What = "platform"    // only one of the images is for it
	Index       What = "index"       // a field of the image index
	Manifest    What = "manifest"    // a field of the image manifest, or how it is written
	Annotation  What = "annotation"  // of a manifest, or of a layer in it
	Config      What = "config"      // a field of the image config, or how it is written
	History     What = "history"     // of the config
	Layer       What = "layer"       // only one of the images has it
	Compression What = "compression" // the layer has the same bytes, packed differently
	Order       What = "order"       // of a layer's entries
	Archive     What = "archive"     // the layer's tar differs in bytes that belong to no entry

	Only    What = "only"    // one image alone has the entry
	Type    What = "type"    // file, folder, link
	Name    What = "name"    // spelled differently ("./bin", "bin")
	Mode    What = "mode"    // permissions
	Owner   What = "owner"   // user or group, by number or name
	MTime   What = "mtime"   // and access and change time, if the tar has them
	Content What = "content" // and size
	Link    What = "link"    // the target
	Device  What = "device"  // its numbers
	XAttr   What = "xattr"   // an extended attribute
	Format  What = "format"  // of the entry's header, or one of its PAX records
)

// A Difference is one respect in which the images differ.
type Difference struct {
	Platform oci.Platform `json:"platform,omitempty"`
	Layer    int          `json:"layer,omitempty"` // from 1, the lowest; 0 if it is of no layer
	What     What         `json:"what"`
	Path     string       `json:"path,omitempty"`     // of a file, or of a field in a JSON document
	Raw      []byte       `json:"raw_path,omitempty"` // the path's bytes, if they are not UTF-8
	A        string       `json:"a"`                  // what the first image has; "" for nothing
	B        string       `json:"b"`                  // and the second
	Cause    string       `json:"cause,omitempty"`    // a guess
	Content  *Contents    `json:"content,omitempty"`  // where two contents differ, if they were compared
	Entries  int64        `json:"entries,omitempty"`  // that are out of order
	Skipped  string       `json:"skipped,omitempty"`  // why contents were not compared byte by byte
}

// Contents says where two files differ. Sizes and offsets are in bytes.
type Contents struct {
	SizeA   int64  `json:"size_a"`
	SizeB   int64  `json:"size_b"`
	Offset  int64  `json:"offset"`            // of the first byte that differs
	Line    int64  `json:"line,omitempty"`    // from 1, of text; 0 for other files
	Differ  int64  `json:"differ,omitempty"`  // bytes that differ; 0 if the sizes do
	Regions int    `json:"regions,omitempty"` // runs of bytes that differ, up to 64
	A       string `json:"a"`                 // what stands there, as text or hexadecimal digits
	B       string `json:"b"`
}

// A Summary counts what Compare found.
type Summary struct {
	Equal       bool           `json:"equal"`
	Differences int64          `json:"differences"`
	ByWhat      map[What]int64 `json:"by_what"`
	ByCause     map[string]int `json:"by_cause"`
}

func (s *Summary) add(d Difference) {
	s.Equal = false
	s.Differences++
	s.ByWhat[d.What]++
	if d.Cause != "" {
		s.ByCause[d.Cause]++
	}
}
