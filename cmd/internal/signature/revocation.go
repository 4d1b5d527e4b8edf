package signature

// Revoke takes revocation certificates, as gpg --generate-revocation writes them: revocations without their key. Each is
// added to the key of r that made it. It returns the keys that are revoked by them, none if data holds no such thing. For a
// certificate of such a key that cannot be read the error is an *UnreadError.
func (r *Keyring) Revoke(data []byte) (revoked []Trusted, err error) {
	blocks, err := dearmor(data)
	if err != nil || len(data) > MaxKeys {
		return nil, nil // which is said once more, of keys
	}
	found := strewn{}
	for _, block := range blocks {
		if onlySignatures(block) {
			found.collect(block)
		}
	}
	for i, t := range r.Keys {
		e, err := parseKey(t.Key.Binary(), nil) // a copy, because keys are immutable
		if err != nil {
			return revoked, err
		}
		adopted, err := found.adopt(e.entity)
		if err != nil {
			return revoked, err
		}
		if adopted {
			r.Keys[i].Key = newKey(e.entity)
			revoked = append(revoked, r.Keys[i])
		}
	}
	return revoked, nil
}
