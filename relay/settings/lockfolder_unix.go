//go:build unix && !aix && !solaris

package settings

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockLook is how often a folder that somebody has locked is looked at again.
const lockLook = 10 * time.Millisecond

// LockFolder locks the folder of a file against all others that do so, until it is
// unlocked or the process ends: for whoever reads a file to replace it by what follows
// from that. Where the file system has no locks it is as if nobody else were there.
func LockFolder(ctx context.Context, file string) (unlock func(), err error) {
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return nil, err
	}
	folder, err := os.Open(filepath.Dir(file))
	if errors.Is(err, os.ErrPermission) {
		return func() {}, nil // it may be passed through, and not read
	}
	if err != nil {
		return nil, err
	}
	unlock = func() { _ = folder.Close() }
	for {
		err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return unlock, nil
		}
		select {
		case <-time.After(lockLook):
		case <-ctx.Done():
			unlock()
			return nil, context.Cause(ctx)
		}
	}
}
