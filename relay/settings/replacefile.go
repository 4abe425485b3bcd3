package settings

import (
	"errors"
	"os"
	"path/filepath"
)

// ReplaceFile writes a file anew that is there, and whose content may be a secret: in
// the place of the old one, whole, and with its owner and its rights. Whoever reads it
// meanwhile, or after a power cut, finds the one or the other. Who may not write to it
// does not replace it either, even where the folder would allow that. A link stays one.
func ReplaceFile(file string, content []byte) (err error) {
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return err
	}
	old, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := old.Stat()
	if err = errors.Join(err, old.Close()); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &os.PathError{Op: "replace", Path: file, Err: errors.New("not a file")}
	}
	fresh, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	_, err = fresh.Write(content)
	err = errors.Join(err, keepOwner(fresh, info), fresh.Chmod(info.Mode().Perm()), fresh.Sync(), fresh.Close())
	if err == nil {
		err = os.Rename(fresh.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(fresh.Name()))
	}
	return nil
}
