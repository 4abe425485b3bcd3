// Command pages takes the code blocks out of a page, for scripts/pages.sh.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v2"
)

const usage = `usage: pages blocks PAGE FOLDER   puts block N of the page into FOLDER/N, and
                                  prints the line that each begins at
       pages yaml FILE            is it YAML?`

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 3 && args[0] == "blocks":
		err = extract(args[1], args[2])
	case len(args) == 2 && args[0] == "yaml":
		err = check(args[1])
	default:
		err = errors.New(usage)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pages:", err)
		os.Exit(1)
	}
}

func extract(page, folder string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	for i, b := range blocks(string(text)) {
		if err := os.WriteFile(filepath.Join(folder, strconv.Itoa(i+1)), []byte(b.text), 0o644); err != nil {
			return err
		}
		fmt.Println(b.line)
	}
	return nil
}

func check(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var v any
	if err := yaml.UnmarshalStrict(text, &v); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// A block is code of a page, without the indentation that makes it so.
type block struct {
	line int // where it begins
	text string
}

// blocks are a page's code blocks, fenced and indented, also in lists. Of
// CommonMark it knows what decides that, and what our pages use: after a blank
// line, four columns more than the innermost list item's text are code.
func blocks(page string) []block {
	var (
		found []block
		items []int // the columns at which the open list items' texts begin
		code  []string
		begun int
		fence string // what ends the block, if it is a fenced one
		shift int    // columns of a code line that are not code
		blank = true // the line before
	)
	end := func() {
		if code != nil {
			found = append(found, block{begun, strings.TrimRight(strings.Join(code, "\n"), "\n") + "\n"})
		}
		code, fence = nil, ""
	}
	for i, line := range strings.Split(page, "\n") {
		text := strings.TrimLeft(line, " ")
		indent := len(line) - len(text)
		switch {
		case fence != "":
			if strings.TrimSpace(text) == fence {
				end()
				continue
			}
			code = append(code, line[min(indent, shift):])
			continue
		case text == "":
			if code != nil {
				code = append(code, "")
			}
			blank = true
			continue
		case code != nil && indent >= shift:
			code = append(code, line[shift:])
			continue
		}
		end()
		for len(items) > 0 && indent < items[len(items)-1] {
			items = items[:len(items)-1]
		}
		base := 0
		if len(items) > 0 {
			base = items[len(items)-1]
		}
		switch width := marker(text); {
		case blank && indent >= base+4:
			begun, shift, code = i+1, base+4, []string{line[base+4:]}
		case strings.HasPrefix(text, "```"):
			begun, shift, code, fence = i+2, indent, []string{}, "```"
		case width > 0:
			items = append(items, indent+width)
		}
		blank = false
	}
	end()
	return found
}

// marker is the width of the list marker that the line begins with, with the
// space after it.
func marker(text string) int {
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	switch rest := text[digits:]; {
	case digits == 0 && (strings.HasPrefix(rest, "- ") || strings.HasPrefix(rest, "* ")):
		return 2
	case digits > 0 && strings.HasPrefix(rest, ". "):
		return digits + 2
	}
	return 0
}
