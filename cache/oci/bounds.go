package oci

import "fmt"

// Limits of a JSON text, which may be forged. The largest manifests of StageX have
// some dozens of layers; configs quote whole RUN instructions.
const (
	maxText   = 1 << 20 // bytes of a string
	maxNumber = 32      // bytes of a number
	maxDepth  = 64
	maxValues = 1 << 15
)

// CheckBounds refuses a JSON text that would take long to decode or make a very long
// error message. It reads each byte once. It does not detect invalid JSON.
func CheckBounds(data []byte) error {
	depth, values, line := 0, 0, 1
	for i := 0; i < len(data); i++ {
		switch c := data[i]; c {
		case '\n':
			line++
		case '"':
			start := i
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
			if i-start > maxText {
				return fmt.Errorf("line %d: a string has more than %d bytes", line, maxText)
			}
		case '[', '{':
			if depth++; depth > maxDepth {
				return fmt.Errorf("line %d: it is nested more than %d deep", line, maxDepth)
			}
		case ']', '}':
			depth--
		case ',':
			if values++; values > maxValues {
				return fmt.Errorf("line %d: it has more than %d values", line, maxValues)
			}
		default:
			start := i
			for i < len(data) && '0' <= data[i] && data[i] <= '9' {
				i++
			}
			if i-start > maxNumber {
				return fmt.Errorf("line %d: a number has more than %d digits", line, maxNumber)
			}
			if i > start {
				i--
			}
		}
	}
	return nil
}
