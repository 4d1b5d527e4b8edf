// Package schema describes package.toml and stagex.toml as JSON Schemas. Editors that
// use taplo complete keys with them, show their meaning and mark errors.
//
// A schema sees one file. It marks errors that package graph or package settings report
// of that file alone, and refuses to guess about other files: those are for sx lint.
// Start at [Of].
package schema

import "fmt"

// Files are the files that have a schema.
var Files = []string{"package.toml", "stagex.toml"}

// Draft is the version of JSON Schema, which all of taplo's releases read.
const Draft = "http://json-schema.org/draft-07/schema#"

// Schema is a JSON Schema or a part of one. It has the keywords that the two files need.
type Schema struct {
	Draft       string             `json:"$schema,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        any                `json:"type,omitempty"` // a string or a list of them
	Properties  map[string]*Schema `json:"properties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	Additional  any                `json:"additionalProperties,omitempty"` // false or a *Schema
	Names       *Schema            `json:"propertyNames,omitempty"`
	Not         *Schema            `json:"not,omitempty"`
	Items       *Schema            `json:"items,omitempty"`
	MinItems    int                `json:"minItems,omitempty"`
	Unique      bool               `json:"uniqueItems,omitempty"`
	Enum        []string           `json:"enum,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	MinLength   int                `json:"minLength,omitempty"`
	Minimum     *int64             `json:"minimum,omitempty"`
	Maximum     *int64             `json:"maximum,omitempty"`
	Default     any                `json:"default,omitempty"`
}

// Of returns the schema of a file.
func Of(file string) (*Schema, error) {
	switch file {
	case "package.toml":
		return packageTOML(), nil
	case "stagex.toml":
		return settingsTOML(), nil
	}
	return nil, fmt.Errorf("there is no schema of %q: want package.toml or stagex.toml", file)
}

// table is an object that has no other keys.
func table(description string, properties map[string]*Schema) *Schema {
	return &Schema{Description: description, Type: "object", Properties: properties, Additional: false}
}

func text(description string) *Schema { return &Schema{Description: description, Type: "string"} }

func pattern(pattern, description string) *Schema {
	return &Schema{Description: description, Type: "string", Pattern: pattern}
}

func list(items *Schema, description string) *Schema {
	return &Schema{Description: description, Type: "array", Items: items}
}
