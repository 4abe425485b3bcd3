package rig

import (
	"bytes"
	"fmt"
	"strconv"
)

// bodyEnd is a body's last line.
const bodyEnd = "# end\n"

// Body is an answer of an agent's target, of about that size. It says whose it is and
// which answer, so that it is known again by its bytes alone, see ParseBody.
func Body(agent, target string, sequence uint64, size int) []byte {
	b := fmt.Appendf(make([]byte, 0, size+512), "# whose %s %s %d\n", agent, target, sequence)
	series := fmt.Appendf(nil, "sample{agent=%q,target=%q,n=\"", agent, target)
	value := fmt.Appendf(nil, "\"} %d\n", sequence)
	for n := int64(0); len(b) < size; n++ {
		b = append(b, series...)
		b = strconv.AppendInt(b, n, 10)
		b = append(b, value...)
	}
	return append(b, bodyEnd...)
}

// ParseBody says whose body it is. It fails unless each byte is as Body has it.
func ParseBody(b []byte) (agent, target string, sequence uint64, err error) {
	if _, err := fmt.Sscanf(string(b[:min(len(b), 1000)]), "# whose %s %s %d\n", &agent, &target, &sequence); err != nil {
		return "", "", 0, fmt.Errorf("no answer of a target's: %.60q", b)
	}
	if !bytes.HasSuffix(b, []byte("\n"+bodyEnd)) {
		return "", "", 0, fmt.Errorf("truncated to %d bytes", len(b))
	}
	if !bytes.Equal(b, Body(agent, target, sequence, len(b)-len(bodyEnd))) {
		return "", "", 0, fmt.Errorf("bytes of something else in it")
	}
	return agent, target, sequence, nil
}
