package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// secretsCome says where a secret is to be had.
var secretsCome = map[string]string{
	"TOKEN":      "farscrape-relay token -agent NAME prints",
	"JOIN_TOKEN": "farscrape-relay token -join NAME prints",
	"KEY":        "openssl rand -hex 32 prints",
	"REDIS_URL":  "farscrape-relay -help says of Redis URLs",
}

// Secret is the value of the variable name (without our prefix), or the content
// of the file that name_FILE names, less its line ends. Nothing set is no error
// and nil; both set is one. No error holds the secret.
func Secret(value, file, name string) ([]byte, error) {
	switch {
	case value != "" && file != "":
		return nil, fmt.Errorf("%[1]s%[2]s and %[1]s%[2]s_FILE are both set: unset one", Prefix, name)
	case file != "":
		content, err := ReadFile(file)
		var path *fs.PathError
		switch {
		case errors.As(err, &path) && mayBeSecret(file):
			belongs := "in the file"
			if name != "JOIN_TOKEN" { // which has no variable of its own
				belongs += " or in " + Prefix + name
			}
			return nil, fmt.Errorf("%s%s_FILE: %w. It is not shown, since it may be the secret itself, which belongs %s", Prefix, name, path.Err, belongs)
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("%s%s_FILE: %w: put into it what %s", Prefix, name, err, secretsCome[name])
		case err != nil:
			return nil, fmt.Errorf("%s%s_FILE: %w", Prefix, name, err)
		}
		if content = bytes.TrimRight(content, "\r\n"); len(content) == 0 {
			return nil, fmt.Errorf("%s%s_FILE: %s holds nothing: put into it what %s", Prefix, name, file, secretsCome[name])
		}
		return content, nil
	case value != "":
		return bytes.TrimRight([]byte(value), "\r\n"), nil
	}
	return nil, nil
}

// leastSecret is the length of the shortest key, in bytes; tokens are longer.
const leastSecret = 32

// mayBeSecret reports whether what should name a file could be what belongs into
// it: a token, which has no slash; a URL with its password; a key, which in base64
// does have slashes, but no folder that is there.
func mayBeSecret(file string) bool {
	switch {
	case strings.HasPrefix(file, "eyJ") || strings.Contains(file, "://") || strings.Contains(file, "@"):
		return true
	case len(file) < leastSecret:
		return false
	case !strings.Contains(file, "/"):
		return true
	case strings.ContainsAny(file, ".-_ "): // which base64 has not
		return false
	}
	folder, _, _ := strings.Cut(strings.TrimPrefix(file, "/"), "/")
	if strings.HasPrefix(file, "/") {
		folder = "/" + folder
	}
	_, err := os.Stat(folder)
	return err != nil
}
