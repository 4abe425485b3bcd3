package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is one of the commands under test, which may be run again once it
// has ended. What it says goes to a file, one for all its lives.
type process struct {
	bench *bench
	name  string
	log   string
	path  string
	args  []string
	env   []string

	mu     sync.Mutex // guards what changes with each life
	cmd    *exec.Cmd
	exited chan struct{}
}

// start runs a command with that environment and nothing of ours in it. It ends
// with the trial, and with this program however that ends.
func (b *bench) start(name string, env []string, path string, args ...string) *process {
	p := &process{bench: b, name: name, log: filepath.Join(b.dir, name+".log"), path: path, args: args,
		env: append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir}, env...)}
	p.run()
	b.Cleanup(p.kill)
	return p
}

// run starts the command, the first time or again.
func (p *process) run() {
	file, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	p.bench.must(err)
	defer file.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = p.env
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.bench.must(cmd.Start())
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.exited = cmd, exited
}

func (p *process) life() (*exec.Cmd, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd, p.exited
}

func (p *process) pid() int {
	cmd, _ := p.life()
	return cmd.Process.Pid
}

// signal sends a signal; to a process that is gone it does nothing.
func (p *process) signal(s syscall.Signal) {
	cmd, _ := p.life()
	_ = cmd.Process.Signal(s)
}

func (p *process) kill() {
	cmd, exited := p.life()
	_ = cmd.Process.Kill()
	<-exited
}

// stop asks the process to end, as a platform does, and says how long that took.
func (p *process) stop() time.Duration {
	_, exited := p.life()
	began := time.Now()
	p.signal(syscall.SIGTERM)
	select {
	case <-exited:
	case <-p.bench.ctx.Done():
		p.bench.Fatal("interrupted")
	case <-time.After(20 * time.Second):
		p.bench.Fatalf("%s does not stop", p.name)
	}
	return time.Since(began)
}

func (p *process) runs() bool {
	_, exited := p.life()
	select {
	case <-exited:
		return false
	default:
		return true
	}
}

// said are the times at which lines were logged, from since on, that have all
// the words.
func (p *process) said(since time.Time, words ...string) (times []time.Time) {
	file, err := os.Open(p.log)
	p.bench.must(err)
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		at, ok := lineTime(lines.Text())
		if ok && !at.Before(since.Truncate(time.Millisecond)) && hasAll(lines.Text(), words) {
			times = append(times, at)
		}
	}
	return times
}

// crashed finds the line in which a Go program says that it crashed.
func (p *process) crashed() string {
	b, _ := os.ReadFile(p.log)
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// lineTime is when a line was logged: its time=….
func lineTime(line string) (time.Time, bool) {
	rest, ok := strings.CutPrefix(line, "time=")
	if !ok {
		return time.Time{}, false
	}
	stamp, _, _ := strings.Cut(rest, " ")
	at, err := time.Parse("2006-01-02T15:04:05.000Z07:00", stamp)
	return at, err == nil
}

func hasAll(line string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}

// memory reads a size of /proc/PID/status, such as VmHWM, in bytes; 0 if the
// process is gone.
func (p *process) memory(field string) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kB, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kB << 10
		}
	}
	return 0
}

// resetPeak makes VmHWM start again from what is used now.
func (p *process) resetPeak() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.pid()), []byte("5"), 0)
}

func (p *process) descriptors() int {
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid()))
	return len(fds)
}
