//go:build embed_runc

package embedded

import _ "embed"

//go:embed runc_linux_arm64.zst
var runcInside []byte
