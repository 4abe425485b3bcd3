package wire

import (
	"errors"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckPath decodes an escaped path, and reports why some server might take it for
// one outside of where it seems to be. It must also be what Go writes for it, so
// that it goes on as it came.
func CheckPath(escaped string) (path string, err error) {
	if escaped == "" {
		return "", nil
	}
	path, err = url.PathUnescape(escaped)
	if err != nil || (&url.URL{Path: path, RawPath: escaped}).EscapedPath() != escaped {
		return "", errors.New("the path has bytes that must be percent-encoded")
	}
	if !utf8.ValidString(path) { // overlong forms of . and / among them
		return "", errors.New("the path is not UTF-8")
	}
	if strings.ContainsFunc(path, unicode.IsControl) {
		return "", errors.New("the path has control characters")
	}
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		name, _, _ := strings.Cut(segment, ";") // servlet containers drop parameters first
		if name == "." || name == ".." {
			return "", errors.New("the path has dot segments")
		}
	}
	return path, nil
}

// CheckRest is CheckPath for what follows a subtree's path, which ends in a slash,
// and shall not lead out of it.
func CheckRest(rest string) (path string, err error) {
	path, err = CheckPath(rest)
	switch {
	case err != nil:
		return "", err
	case strings.HasPrefix(path, "/"):
		return "", errors.New("the path has two slashes after the target")
	case strings.Contains(path, `\`): // to some servers it is a slash
		return "", errors.New("the path has a backslash after the target")
	}
	return path, nil
}
