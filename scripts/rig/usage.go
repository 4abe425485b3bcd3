package rig

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Memory adds up a size of /proc/PID/status, such as VmHWM, of the process and
// its children, in bytes; 0 if it is gone.
func (p *Process) Memory(field string) (sum int) {
	for _, pid := range p.family() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, field+":"); ok {
				kB, _ := strconv.Atoi(strings.Fields(rest)[0])
				sum += kB << 10
			}
		}
	}
	return sum
}

// ResetPeak makes VmHWM start again from what is used now.
func (p *Process) ResetPeak() {
	for _, pid := range p.family() {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
	}
}

// Calls is how many reads and writes the process has asked the kernel for.
func (p *Process) Calls() (n int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.PID()))
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if name == "syscr" || name == "syscw" {
			calls, _ := strconv.Atoi(value)
			n += calls
		}
	}
	return n
}

// Descriptors is how many the process has open.
func (p *Process) Descriptors() int {
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	return len(fds)
}

// tick is the unit of /proc/PID/stat's times: Linux has shown hundredths of a
// second to user space on every architecture Go runs on.
const tick = 10 * time.Millisecond

// CPU is the processor time that the process and its children have used, those
// that have ended and were waited for included.
func (p *Process) CPU() (total time.Duration) {
	for _, pid := range p.family() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		// The name, in parentheses, may hold spaces: fields count from after it.
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		for _, f := range fields[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.Atoi(f)
			total += time.Duration(n) * tick
		}
	}
	return total
}

// family is the process and its children, as nginx has them.
func (p *Process) family() []int {
	all := []int{p.PID()}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.PID(), p.PID()))
	for _, f := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil {
			all = append(all, pid)
		}
	}
	return all
}
