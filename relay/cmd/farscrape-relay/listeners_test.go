package main

import (
	"bytes"
	"net"
	"strings"
	"testing"
)

func TestAPortInUseIsToldWithItsSetting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	free := map[string]string{"LISTEN": "127.0.0.1:0", "EDGE_LISTEN": "127.0.0.1:0", "OPS_LISTEN": "127.0.0.1:0"}
	for name := range free {
		environ := []string{"FARSCRAPE_KEY=0123456789abcdef0123456789abcdef"}
		for other, listen := range free {
			if other == name {
				listen = address
			}
			environ = append(environ, "FARSCRAPE_"+other+"="+listen)
		}
		var out bytes.Buffer
		err := run(t.Context(), environ, &out)
		if err == nil || !strings.Contains(err.Error(), "FARSCRAPE_"+name+": ") || !strings.Contains(err.Error(), address) || !strings.HasSuffix(err.Error(), "another process has it (ss -ltnp)") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
