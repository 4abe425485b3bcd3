//go:build unix

package main

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a file to whom another belongs, which may be the replica's own user:
// who may not do that has a file that stays his.
func keepOwner(f *os.File, was fs.FileInfo) {
	if of, ok := was.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(of.Uid), int(of.Gid))
	}
}
