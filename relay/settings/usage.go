package settings

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
)

// Usage writes what -help prints: intro, then every variable of the struct that
// dst points to, with its type, default and help.
func Usage(w io.Writer, intro string, dst any) {
	fmt.Fprintf(w, "%s\n\nEnvironment:\n", strings.TrimRight(intro, "\n"))
	for _, v := range variables(dst) {
		fmt.Fprintf(w, "\n  %-34s %s\n", v.name, v.form())
		for _, line := range wrap(v.help, 72) {
			fmt.Fprintf(w, "      %s\n", line)
		}
	}
}

// form is the variable's type with its default.
func (v *variable) form() string {
	form := typeName(v.typ)
	switch {
	case v.required:
		form += ", required"
	case v.fallback != "":
		form += ", default " + v.fallback
	}
	return form
}

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[Bytes]():
		return "size"
	case reflect.TypeFor[Prefixes]():
		return "CIDRs"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "number"
	}
	return "text"
}

// parseTag takes an env tag apart: the name without our prefix, and whether the
// variable must be set.
func parseTag(tag string) (name string, required bool) {
	name, options, _ := strings.Cut(tag, ",")
	return name, strings.Contains(options, "required") || strings.Contains(options, "notEmpty")
}

// wrap breaks text into lines of at most width bytes, but for longer words.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
