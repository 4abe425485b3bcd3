package rig

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Build builds the commands of a tree into a folder: as released, unless there are
// flags for go build.
func Build(tree, dir string, flags ...string) error {
	args := append(append([]string{"build", "-o", dir + "/"}, flags...), "./relay/cmd/farscrape-relay", "./agent/cmd/farscrape-agent")
	cmd := exec.Command("go", args...)
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %v\n%s", err, out)
	}
	return nil
}

// BuildRevision builds the commands of a revision of this repository into a
// folder, from a work tree of its own that is gone when it returns.
func BuildRevision(revision, dir string) error {
	tree := filepath.Join(dir, "tree")
	if out, err := exec.Command("git", "worktree", "add", "--detach", tree, revision).CombinedOutput(); err != nil {
		return fmt.Errorf("git worktree add %s: %v\n%s", revision, err, out)
	}
	err := Build(tree, dir)
	if out, removing := exec.Command("git", "worktree", "remove", "--force", tree).CombinedOutput(); removing != nil {
		return errors.Join(err, fmt.Errorf("git worktree remove: %v\n%s", removing, out))
	}
	return err
}
