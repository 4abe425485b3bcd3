package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Secret is the value of the variable name (without our prefix), or the content
// of the file that name_FILE names, less its line ends. Nothing set is no error
// and nil; both set is one. No error holds the secret.
func Secret(value, file, name string) ([]byte, error) {
	switch {
	case value != "" && file != "":
		return nil, fmt.Errorf("%[1]s%[2]s and %[1]s%[2]s_FILE are both set: unset one", Prefix, name)
	case file != "":
		content, err := ReadFile(file)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !filepath.IsAbs(file):
			return nil, fmt.Errorf("%[1]s%[2]s_FILE: there is no such file. It is not shown, since it may be the secret itself, which belongs in the file or in %[1]s%[2]s", Prefix, name)
		case err != nil:
			return nil, fmt.Errorf("%s%s_FILE: %w", Prefix, name, err)
		}
		if content = bytes.TrimRight(content, "\r\n"); len(content) == 0 {
			return nil, fmt.Errorf("%s%s_FILE: %s is empty", Prefix, name, file)
		}
		return content, nil
	case value != "":
		return bytes.TrimRight([]byte(value), "\r\n"), nil
	}
	return nil, nil
}
