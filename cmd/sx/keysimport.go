package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/receipt"
	"codeberg.org/stagex/sx/cmd/internal/signature"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

type importOptions struct {
	fingerprints []string
	person       string
}

func newKeysImportCommand(a *app) *cobra.Command {
	var o importOptions
	c := &cobra.Command{
		Use:   "import FILE...",
		Short: "Trust keys from a file",
		Long: `Prints the fingerprint of every public key in the files, armored or binary. It trusts
the keys that --fingerprint names and, at a terminal, those that you confirm. Compare
each fingerprint with the one that you got from the person. A key that you trust already
gets the revocations and renewals in the file, and loses none. A file may also be a
revocation certificate for such a key, or of a machine's key (sx keys revoke-machine).

sx counts people, not keys: keys with the same --person count once, and without it each
key counts.`,
		Example: `  sx keys import maintainers.asc      # print the keys in the file
  sx keys import maintainers.asc --fingerprint 0123456789ABCDEF0123456789ABCDEF01234567`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("no file is named: sx keys import FILE")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return runKeysImport(a, args, o) },
	}
	c.Flags().StringArrayVar(&o.fingerprints, "fingerprint", nil, "trust the key with this `FINGERPRINT`; may be repeated")
	c.Flags().StringVar(&o.person, "person", "", "the person whose keys these are: any `NAME`")
	return c
}

func runKeysImport(a *app, files []string, o importOptions) error {
	ring, dir, err := loadKeyring()
	if err != nil {
		return err
	}
	var keys []*signature.Key
	for _, file := range files {
		data, err := signature.ReadKeyFile(file)
		if err != nil {
			return usageError{err}
		}
		if receipt.IsRevocation(data) {
			if err := importMachineRevocation(a, ring, file, data); err != nil {
				return err
			}
			continue
		}
		revoked, err := importRevocations(a, ring, dir, file, data)
		if err != nil {
			return err
		}
		found, err := parseKeys(a, ring, file, data)
		if err != nil && !(revoked && errors.Is(err, signature.ErrNoKey)) {
			return err
		}
		keys = append(keys, found...)
	}
	if err := namedIn(keys, o.fingerprints); err != nil {
		return err
	}
	left := 0
	for _, k := range keys {
		settled, err := importKey(a, ring, dir, k, o)
		if err != nil {
			return err
		}
		if !settled {
			left++
		}
	}
	if left > 0 {
		return usagef("%s not trusted: name the keys to trust with --fingerprint", isAre(left, "key"))
	}
	return nil
}

// importMachineRevocation keeps the revocation of a machine key by somebody whose key the
// user trusts.
func importMachineRevocation(a *app, ring *signature.Keyring, file string, data []byte) error {
	dir, err := revokedDir()
	if err != nil {
		return err
	}
	r := receipt.OpenRevocation(file, data, ring, time.Now())
	if r.Why != nil {
		return usagef("%s: %w", file, r.Why)
	}
	if err := receipt.KeepRevocation(dir, r, data); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "%s\n    %s revoked this machine key: its receipts count for nothing any more\n", r.KeyID, text.Field(r.Person))
	return nil
}

func isAre(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " is"
	}
	return fmt.Sprintf("%d %ss are", n, noun)
}

// importRevocations applies the revocation certificates in a file to trusted keys, and
// reports whether there was one.
func importRevocations(a *app, ring *signature.Keyring, dir, file string, data []byte) (bool, error) {
	revoked, err := ring.Revoke(data)
	if err != nil {
		return false, unread(ring, file, err)
	}
	for _, t := range revoked {
		if err := saveKey(dir, t); err != nil {
			return false, err
		}
		printKey(a.stdout, t.Key)
	}
	return len(revoked) > 0, nil
}

// unread returns the error of reading a file. If it is about a trusted key it says how to
// remove that.
func unread(ring *signature.Keyring, file string, err error) error {
	if fingerprint := ofTrusted(ring, err); fingerprint != "" {
		return usagef("%s: %w; that key still counts: sx keys remove %s ends it", file, err, fingerprint)
	}
	return usagef("%s: %w", file, err)
}

// ofTrusted returns the fingerprint of the trusted key that err says was revoked, "" if
// it says no such thing.
func ofTrusted(ring *signature.Keyring, err error) string {
	var e *signature.UnreadError
	if errors.As(err, &e) {
		if _, trusted := ring.Find(e.Fingerprint); trusted {
			return e.Fingerprint
		}
	}
	return ""
}

func parseKeys(a *app, ring *signature.Keyring, file string, data []byte) ([]*signature.Key, error) {
	keys, bad, err := signature.ParseKeys(data)
	if err != nil {
		return nil, unread(ring, file, err)
	}
	for _, err := range bad {
		if ofTrusted(ring, err) != "" {
			return nil, unread(ring, file, err)
		}
	}
	if len(keys) == 0 {
		return nil, usagef("%s: no key in it can be used: %w", file, errors.Join(bad...))
	}
	for _, err := range bad {
		fmt.Fprintf(a.stderr, "sx: warning: %s: %s\n", text.Field(file), text.Field(err.Error()))
	}
	return keys, nil
}

// namedIn checks that each fingerprint is that of one of keys. Part of a fingerprint would
// match other keys too.
func namedIn(keys []*signature.Key, fingerprints []string) error {
	for _, f := range fingerprints {
		clean := signature.CleanFingerprint(f)
		if !slices.ContainsFunc(keys, func(k *signature.Key) bool { return k.Fingerprint == clean }) {
			return usagef("no key in these files has the fingerprint %q; give all of it", f)
		}
	}
	return nil
}

// importKey prints a key and trusts it if the user says so now or did before. It reports
// false if the user did not decide.
func importKey(a *app, ring *signature.Keyring, dir string, k *signature.Key, o importOptions) (bool, error) {
	before, known := ring.Find(k.Fingerprint)
	printKey(a.stdout, k)
	asked := slices.ContainsFunc(o.fingerprints, func(f string) bool { return signature.CleanFingerprint(f) == k.Fingerprint })
	person := o.person
	switch {
	case asked:
	case known:
		person = ""
	case len(o.fingerprints) > 0:
		fmt.Fprintln(a.stdout, "    not trusted")
		return true, nil // the user named others
	default:
		yes, asked := confirm("Does it belong to the person that it names, and do you trust it?")
		if !yes {
			fmt.Fprintln(a.stdout, "    not trusted")
			return asked, nil
		}
	}
	warnOfTwin(a, ring, k, person)
	after, err := ring.Add(person, k)
	if err != nil {
		return false, usageError{err}
	}
	if known && before.Person == after.Person && before.Key.Equal(after.Key) {
		fmt.Fprintf(a.stdout, "    trusted already%s\n", asPerson(after))
		return true, nil
	}
	if err := saveKey(dir, after); err != nil {
		return false, err
	}
	word := "trusted"
	if known {
		word = "brought up to date"
	}
	fmt.Fprintf(a.stdout, "    %s%s\n", word, asPerson(after))
	return true, nil
}

// saveKey saves t under a lock on the folder.
func saveKey(dir string, t signature.Trusted) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := disk.LockFile(filepath.Join(dir, ".lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	return signature.Save(dir, t)
}

func asPerson(t signature.Trusted) string {
	if t.Person == t.Key.Fingerprint {
		return ""
	}
	return ", counts as " + text.Field(t.Person)
}

// warnOfTwin warns if a key has the user ID of a trusted key of another person.
func warnOfTwin(a *app, ring *signature.Keyring, k *signature.Key, person string) {
	for _, t := range ring.Keys {
		if t.Key.Fingerprint == k.Fingerprint || signature.SamePerson(t.Person, person) {
			continue
		}
		for _, name := range k.Names {
			if slices.Contains(t.Key.Names, name) {
				fmt.Fprintf(a.stderr, "sx: warning: the key %s has the user ID %s too; if both are one person's, import them with the same --person, or they count twice\n",
					t.Key.Fingerprint, text.Field(name))
				return
			}
		}
	}
}

// confirm asks the user at the terminal, and reports whether stdin is one. The question
// goes to the terminal even if stderr does not.
func confirm(question string) (yes, asked bool) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return false, false
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false, false
	}
	defer tty.Close()
	fmt.Fprintf(tty, "%s [y/N] ", question)
	answer, err := bufio.NewReader(io.LimitReader(tty, 100)).ReadString('\n')
	return err == nil && slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(answer))), true
}
