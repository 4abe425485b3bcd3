//go:build !unix || aix || solaris

package settings

import "context"

// LockFolder does nothing: of two that replace a file at a time the later one wins.
func LockFolder(context.Context, string) (unlock func(), err error) { return func() {}, nil }
