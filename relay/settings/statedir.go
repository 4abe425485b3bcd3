package settings

import (
	"path/filepath"
	"strings"
)

// StateDir is the folder where a command may keep what outlives it, if it is told none:
// the one that systemd made for it (StateDirectory=), else the user's own by the XDG
// Base Directory Specification; empty if there is neither.
func StateDir(environ []string) string {
	vars := make(map[string]string)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		vars[name] = value
	}
	first, _, _ := strings.Cut(vars["STATE_DIRECTORY"], ":") // systemd lists all of a unit's
	switch {
	case first != "":
		return first
	case filepath.IsAbs(vars["XDG_STATE_HOME"]): // the specification: another is to be ignored
		return filepath.Join(vars["XDG_STATE_HOME"], "farscrape")
	case filepath.IsAbs(vars["HOME"]):
		return filepath.Join(vars["HOME"], ".local", "state", "farscrape")
	}
	return ""
}
