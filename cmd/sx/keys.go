package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/receipt"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/signature"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

func newKeysCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "Manage the keys whose signatures count",
		Long: `Manages the keys that you trust: sx verify --signatures counts their signatures and no
others. They are in ` + "`keys`" + ` beside your stagex.toml, one file for each, which gpg can
read too. A key that comes with a file, a signature or a tree never counts by itself.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			c.SetOut(a.stderr)
			c.Help()
			return usagef("no command given")
		},
	}
	c.Example = "  sx keys list"
	c.AddCommand(newKeysImportCommand(a), newKeysListCommand(a), newKeysRemoveCommand(a), newKeysMachineCommand(a), newKeysRevokeCommand(a))
	return c
}

// keysDir returns the folder of the user's keys.
func keysDir() (string, error) {
	file := settings.UserFile(os.Getenv)
	if file == "" {
		return "", usagef("neither XDG_CONFIG_HOME nor HOME is an absolute path, so there is no folder for your keys: set one of them")
	}
	return filepath.Join(filepath.Dir(file), "keys"), nil
}

func loadKeyring() (*signature.Keyring, string, error) {
	dir, err := keysDir()
	if err != nil {
		return nil, "", err
	}
	ring, err := signature.LoadKeyring(dir)
	if err != nil {
		return nil, "", usageError{err}
	}
	return ring, dir, nil
}

// printKey writes the fingerprint, the dates and the user IDs of a key.
func printKey(w io.Writer, k *signature.Key) {
	fmt.Fprintf(w, "%s  made %s%s\n", k.Fingerprint, k.Created.Format("2006-01-02"), keyEnd(k))
	for _, name := range k.Names {
		fmt.Fprintf(w, "    %s\n", text.Field(name))
	}
}

// keyEnd describes when the key expires or why it was revoked.
func keyEnd(k *signature.Key) string {
	expires, revoked := k.Ends()
	switch {
	case revoked != "":
		return ", revoked as " + revoked
	case !expires.IsZero():
		return ", expires " + expires.Format("2006-01-02")
	}
	return ""
}

// keyJSON is a key as `sx keys list --json` prints it. It only gains fields.
type keyJSON struct {
	Fingerprint string   `json:"fingerprint"`
	Person      string   `json:"person"`
	UserIDs     []string `json:"user_ids"`
	Created     string   `json:"created"`
	Expires     string   `json:"expires,omitempty"`
	Revoked     string   `json:"revoked,omitempty"`
	TreeSays    string   `json:"tree_says,omitempty"` // a name in MAINTAINERS: the tree's claim
	// RevokedMachines are the machine keys that its owner revoked with it.
	RevokedMachines []string `json:"revoked_machines,omitempty"`
}

func newKeysListCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the keys that you trust",
		Long: `Lists each key that you trust: its fingerprint, its user IDs, and the person that it
counts for. In a tree it adds the name that the tree's MAINTAINERS gives to the key,
which is only the tree's claim.`,
		Example: "  sx keys list",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return runKeysList(c.Context(), a, asJSON) },
	}
	addJSONFlag(c, &asJSON, "each key")
	return c
}

func runKeysList(_ context.Context, a *app, asJSON bool) error {
	ring, revoked, err := loadRevoked()
	if err != nil {
		return err
	}
	dir, _ := keysDir() // loadRevoked has read it
	claims := maintainersIn(a)
	if asJSON {
		return printJSON(a.stdout, keysJSON(ring, revoked, claims))
	}
	if len(ring.Keys) == 0 {
		fmt.Fprintf(a.stderr, "sx: you trust no key yet (%s): sx keys import FILE\n", text.Field(dir))
	}
	for _, t := range ring.Keys {
		printKey(a.stdout, t.Key)
		if t.Person != t.Key.Fingerprint {
			fmt.Fprintf(a.stdout, "    counts as %s\n", text.Field(t.Person))
		}
		for _, r := range revoked {
			if r.Signer == t.Key.Fingerprint {
				fmt.Fprintf(a.stdout, "    revoked its machine key %s on %s\n", r.KeyID, r.Revoked.Format(time.DateOnly))
			}
		}
		if name := claims.of(t.Key.Fingerprint); name != "" {
			fmt.Fprintf(a.stdout, "    the tree's MAINTAINERS says that this is %s\n", text.Field(name))
		}
	}
	return nil
}

func keysJSON(ring *signature.Keyring, revoked receipt.Revoked, claims maintainers) []keyJSON {
	all := []keyJSON{}
	for _, t := range ring.Keys {
		k := keyJSON{
			Fingerprint: t.Key.Fingerprint, Person: t.Person, UserIDs: append([]string{}, t.Key.Names...),
			Created: t.Key.Created.Format("2006-01-02"), TreeSays: claims.of(t.Key.Fingerprint),
		}
		expires, reason := t.Key.Ends()
		if k.Revoked = reason; !expires.IsZero() {
			k.Expires = expires.Format("2006-01-02")
		}
		for _, r := range revoked {
			if r.Signer == t.Key.Fingerprint {
				k.RevokedMachines = append(k.RevokedMachines, r.KeyID)
			}
		}
		all = append(all, k)
	}
	return all
}

func newKeysRemoveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "remove FINGERPRINT...",
		Short:   "Stop trusting keys",
		Long:    "Removes keys from those that you trust. Their signatures do not count any more.",
		Example: "  sx keys remove 0123456789ABCDEF0123456789ABCDEF01234567",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("no key is named: sx keys remove FINGERPRINT (sx keys list prints them)")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return runKeysRemove(a, args) },
	}
}

func runKeysRemove(a *app, fingerprints []string) error {
	ring, dir, err := loadKeyring()
	if err != nil {
		return err
	}
	var gone []signature.Trusted
	for _, f := range fingerprints {
		t, ok := ring.Find(f)
		if !ok {
			return usagef("you trust no key with the fingerprint %q; give all of it, as sx keys list prints it", f)
		}
		gone = append(gone, t)
	}
	for _, t := range gone {
		if err := signature.Remove(dir, t.Key.Fingerprint); err != nil {
			return err
		}
		fmt.Fprintf(a.stderr, "sx: %s is not trusted any more (%s)\n", t.Key.Fingerprint, text.Field(cmp.Or(first(t.Key.Names), t.Person)))
	}
	return nil
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// maintainers maps key IDs and fingerprints, in upper-case hexadecimal, to the names in a
// tree's MAINTAINERS. They are claims of the tree, and decide nothing.
type maintainers map[string]string

// maxMaintainers bounds the file, because the tree is not trusted; upstream's has 3 KB.
const maxMaintainers = 64 << 10

// maintainersIn reads the file of the current tree. If it cannot be read there are no
// claims.
func maintainersIn(a *app) maintainers {
	dir, err := a.treeDir()
	if err != nil {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil
	}
	defer root.Close()
	info, err := root.Lstat("MAINTAINERS")
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxMaintainers {
		return nil
	}
	f, err := root.Open("MAINTAINERS")
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMaintainers))
	if err != nil {
		return nil
	}
	return parseMaintainers(string(data))
}

// parseMaintainers takes the end of each keyoxide address that is a fingerprint or a key ID.
func parseMaintainers(data string) maintainers {
	var file struct {
		People map[string]struct {
			Name     string `toml:"name"`
			Keyoxide string `toml:"keyoxide"`
		} `toml:"people"`
	}
	if _, err := toml.Decode(data, &file); err != nil {
		return nil
	}
	m := maintainers{}
	for _, key := range slices.Sorted(maps.Keys(file.People)) {
		p := file.People[key]
		id := strings.ToUpper(p.Keyoxide[strings.LastIndexByte(p.Keyoxide, '/')+1:])
		if (len(id) == 16 || len(id) == 40) && strings.Trim(id, "0123456789ABCDEF") == "" && p.Name != "" {
			m[id] = p.Name
		}
	}
	return m
}

// of returns the name for a fingerprint, "" if there is none. A key ID is the last 16
// digits of a fingerprint.
func (m maintainers) of(fingerprint string) string {
	if name, ok := m[fingerprint]; ok || len(fingerprint) != 40 {
		return name
	}
	return m[fingerprint[24:]]
}
