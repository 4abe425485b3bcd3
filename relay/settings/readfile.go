package settings

import (
	"fmt"
	"io"
	"os"
)

// MaxFile bounds a file that a setting names, in bytes: the longest that is of use
// is a list of 10,000 targets with labels, of a few megabytes. Files are read again
// for as long as the process runs, and what is put in their place must not take
// its memory.
const MaxFile = 16 << 20

// ReadFile reads a file that a setting names. A longer one is an error, and not
// read.
func ReadFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tooLong := &os.PathError{Op: "read", Path: file, Err: fmt.Errorf("more than %d MiB", MaxFile>>20)}
	if info, err := f.Stat(); err == nil && info.Size() > MaxFile {
		return nil, tooLong
	}
	content, err := io.ReadAll(io.LimitReader(f, MaxFile+1)) // it may grow meanwhile, or be none that has a size
	if err == nil && len(content) > MaxFile {
		return nil, tooLong
	}
	return content, err
}
