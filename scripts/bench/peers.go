package main

import (
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"go.yaml.in/yaml/v2"

	"github.com/farscrape/farscrape/scripts/rig"
)

// A peer is what somebody may use in our place, as a file of the folder peers
// describes it. Its values are templates, in which {{port "x"}} is a free port of
// that name, {{file "x"}} the path of the file, {{target}} the target's host:port
// and {{targetPort}} its port. Nothing of a peer is built or shipped here: it
// takes part where its programs are on PATH.
type peer struct {
	Name string
	// Files are written before the processes start, in a folder of the peer's.
	Files map[string]string
	// Processes are command lines; a word has no space in it.
	Processes []string
	// Listens is what must be listened on before the next process starts, a
	// process each; empty: nothing.
	Listens []string
	// URL is where the target is scraped, without its path, and Proxy the
	// proxy that is asked for it, if it is one.
	URL   string
	Proxy string
}

//go:embed peers/*.yaml
var peerFiles embed.FS

func readPeers() ([]*peer, error) {
	entries, err := peerFiles.ReadDir("peers")
	if err != nil {
		return nil, err
	}
	var all []*peer
	for _, e := range entries {
		content, err := peerFiles.ReadFile("peers/" + e.Name())
		if err != nil {
			return nil, err
		}
		var p peer
		if err := yaml.UnmarshalStrict(content, &p); err != nil {
			return nil, fmt.Errorf("peers/%s: %w", e.Name(), err)
		}
		if p.Name = strings.TrimSuffix(e.Name(), ".yaml"); len(p.Listens) != len(p.Processes) {
			return nil, fmt.Errorf("peers/%s: listens and processes differ in number", e.Name())
		}
		all = append(all, &p)
	}
	return all, nil
}

// installed reports whether all of the peer's programs are on PATH.
func (p *peer) installed() bool {
	for _, line := range p.Processes {
		program, _, _ := strings.Cut(line, " ")
		if _, err := exec.LookPath(program); err != nil {
			return false
		}
	}
	return true
}

func (b *bench) startPeer(p *peer, target *targetServer) *system {
	dir := b.TempDir()
	_, targetPort, err := net.SplitHostPort(target.addr)
	b.Must(err)
	ports := make(map[string]string)
	functions := template.FuncMap{
		"file":       func(name string) string { return filepath.Join(dir, name) },
		"target":     func() string { return target.addr },
		"targetPort": func() string { return targetPort },
		"port": func(name string) (string, error) {
			if ports[name] == "" {
				_, port, err := net.SplitHostPort(rig.FreePort())
				if err != nil {
					return "", err
				}
				ports[name] = port
			}
			return ports[name], nil
		},
	}
	fill := func(text string) string {
		t, err := template.New(p.Name).Funcs(functions).Parse(text)
		b.Must(err)
		var out strings.Builder
		b.Must(t.Execute(&out, nil))
		return out.String()
	}
	for name, text := range p.Files {
		b.Must(os.WriteFile(filepath.Join(dir, name), []byte(fill(text)), 0o600))
	}
	s := &system{}
	for i, line := range p.Processes {
		words := strings.Fields(fill(line))
		path, err := exec.LookPath(words[0])
		b.Must(err)
		started := b.Start(fmt.Sprintf("%s-%d", p.Name, i), nil, path, words[1:]...)
		s.processes = append(s.processes, started)
		if at := fill(p.Listens[i]); at != "" {
			started.AwaitListening(at)
		}
	}
	url, proxy := fill(p.URL), fill(p.Proxy)
	s.ways = func(payload *payload) []way {
		w, err := through(proxy, url+payload.path, "")
		b.Must(err)
		return []way{w}
	}
	return s
}

// answers waits until the system hands on what the target sends.
func (b *bench) answers(s *system, p *payload) {
	why := errors.New("it was not asked")
	_, ok := b.Poll(rig.Patience, func() bool {
		once := scraper{payload: p, buffer: make([]byte, 64<<10), conns: make(map[string]*connection)}
		defer once.close()
		w := s.ways(p)[0]
		if _, why = once.scrape(w.addr, w.request(p.gzip)); why != nil {
			b.Wait(100 * time.Millisecond)
		}
		return why == nil
	})
	if !ok {
		b.Fatalf("%s does not answer: %v", s.name, why)
	}
}
