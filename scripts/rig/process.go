package rig

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
// with the rig, and with this program however that ends.
func (r *Rig) Start(name string, env []string, path string, args ...string) *Process {
	p := &Process{rig: r, Name: name, Log: r.logFile(name), path: path, args: args,
		env: append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.Dir}, env...)}
	p.Run()
	r.Cleanup(p.Kill)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.processes = append(r.processes, p)
	return p
}

// logFile makes a file for what a process of that name says; where there is one
// already, of another such process, another beside it.
func (r *Rig) logFile(name string) (path string) {
	path = filepath.Join(r.Dir, name+".log")
	for n := 2; ; n++ {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			r.Must(file.Close())
			return path
		}
		if !errors.Is(err, fs.ErrExist) {
			r.Must(err)
		}
		path = filepath.Join(r.Dir, fmt.Sprintf("%s-%d.log", name, n))
	}
}

// Processes are all that were started on the rig.
func (r *Rig) Processes() []*Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.processes)
}

// AwaitListening waits until somebody does.
func (p *Process) AwaitListening(addr string) {
	p.rig.Helper()
	p.rig.Until(Patience, p.Name+" listens", func() bool { return Listens(addr) })
}

// Replace has the next life run another build of the command.
func (p *Process) Replace(path string) { p.path = path }

// SetEnv has the next life run with these settings, too.
func (p *Process) SetEnv(env ...string) { p.env = append(p.env, env...) }

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
	p.rig.Helper()
	began := time.Now()
	p.Signal(syscall.SIGTERM)
	if _, ended := p.Exit(20 * time.Second); !ended {
		p.rig.Fatalf("%s does not stop", p.Name)
	}
	return time.Since(began)
}

// Exit waits until the process has ended, and returns its status, or that it has
// not.
func (p *Process) Exit(within time.Duration) (status int, ended bool) {
	cmd, exited := p.life()
	select {
	case <-exited:
		return cmd.ProcessState.ExitCode(), true
	case <-p.rig.Ctx.Done():
		p.rig.Fatal("interrupted")
	case <-time.After(within):
	}
	return 0, false
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

// Output is all that the process has said.
func (p *Process) Output() string {
	b, err := os.ReadFile(p.Log)
	p.rig.Must(err)
	return string(b)
}

// Says waits until a line is logged, from since on, that has all the words.
func (p *Process) Says(within time.Duration, since time.Time, words ...string) bool {
	_, ok := p.rig.Poll(within, func() bool { return len(p.Said(since, words...)) > 0 })
	return ok
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

// Crashed finds the line in which a Go program says that it crashed, or raced.
func (p *Process) Crashed() string {
	for line := range strings.Lines(p.Output()) {
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") || strings.HasPrefix(line, "WARNING: DATA RACE") {
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
