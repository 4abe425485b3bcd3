package rig

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Process is one of the commands under test, which may be run again once it
// has ended. What it says goes to a file, one for all its lives.
type Process struct {
	Name string
	Log  string // its file

	rig  *Rig
	path string
	args []string
	env  []string

	mu     sync.Mutex // guards what changes with each life
	cmd    *exec.Cmd
	exited chan struct{}
}

// Start runs a command with that environment and nothing of ours in it. It ends
// with the trial, and with this program however that ends.
func (r *Rig) Start(name string, env []string, path string, args ...string) *Process {
	p := &Process{rig: r, Name: name, Log: filepath.Join(r.Dir, name+".log"), path: path, args: args,
		env: append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.Dir}, env...)}
	p.Run()
	r.Cleanup(p.Kill)
	return p
}

// Replace has the next life run another build of the command.
func (p *Process) Replace(path string) { p.path = path }

// Run starts the command, the first time or again.
func (p *Process) Run() {
	file, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	p.rig.Must(err)
	defer file.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = p.env
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.rig.Must(cmd.Start())
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.exited = cmd, exited
}

func (p *Process) life() (*exec.Cmd, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd, p.exited
}

// PID is the process ID of the present life.
func (p *Process) PID() int {
	cmd, _ := p.life()
	return cmd.Process.Pid
}

// Signal sends a signal; to a process that is gone it does nothing.
func (p *Process) Signal(s syscall.Signal) {
	cmd, _ := p.life()
	_ = cmd.Process.Signal(s)
}

// Kill ends the process at once, and waits until it has ended.
func (p *Process) Kill() {
	cmd, exited := p.life()
	_ = cmd.Process.Kill()
	<-exited
}

// Stop asks the process to end, as a platform does, and says how long that took.
func (p *Process) Stop() time.Duration {
	_, exited := p.life()
	began := time.Now()
	p.Signal(syscall.SIGTERM)
	select {
	case <-exited:
	case <-p.rig.Ctx.Done():
		p.rig.Fatal("interrupted")
	case <-time.After(20 * time.Second):
		p.rig.Fatalf("%s does not stop", p.Name)
	}
	return time.Since(began)
}

// Runs reports whether the process has not ended.
func (p *Process) Runs() bool {
	_, exited := p.life()
	select {
	case <-exited:
		return false
	default:
		return true
	}
}

// Said are the times at which lines were logged, from since on, that have all
// the words.
func (p *Process) Said(since time.Time, words ...string) (times []time.Time) {
	file, err := os.Open(p.Log)
	p.rig.Must(err)
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

// Crashed finds the line in which a Go program says that it crashed.
func (p *Process) Crashed() string {
	b, _ := os.ReadFile(p.Log)
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
