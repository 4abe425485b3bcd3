package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"syscall"
	"time"
)

// A process is one that this check started.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *bytes.Buffer // to be read once it has ended
	done chan struct{} // closed when it has
	err  error         // how it ended
}

func (t *trial) start(name, command string, env map[string]string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(command), log: new(bytes.Buffer), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.Env = []string{} // nothing of this machine's
	for k, v := range env {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	t.processes = append(t.processes, p)
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends it as the kubelet does, and says how it ended.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-time.After(10 * time.Second):
		return errors.New("does not stop on SIGTERM")
	}
}

// until waits for ok, for as long as p runs.
func (p *process) until(what string, within time.Duration, ok func() (bool, error)) (time.Duration, error) {
	begun := time.Now()
	for {
		done, err := ok()
		if done {
			return time.Since(begun), nil
		}
		select {
		case <-p.done:
			return 0, fmt.Errorf("%s: it has ended: %v", what, p.err)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(begun) > within {
			return 0, errors.Join(fmt.Errorf("%s: not within %s", what, within), err)
		}
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// ready waits until a URL answers 200.
func (p *process) ready(url string) error {
	_, err := p.until("ready", soon, func() (bool, error) {
		resp, err := http.Get(url)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK, nil
	})
	return err
}
