package edge

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// suite is what all tests of the package have logged, and the secrets none of
// them may have.
var suite struct {
	mu      sync.Mutex
	log     bytes.Buffer
	secrets []string
}

type suiteLog struct{}

func (suiteLog) Write(p []byte) (int, error) {
	suite.mu.Lock()
	defer suite.mu.Unlock()
	return suite.log.Write(p)
}

func keepSecret(s string) string {
	suite.mu.Lock()
	defer suite.mu.Unlock()
	suite.secrets = append(suite.secrets, s)
	return s
}

// TestMain fails the package if a goroutine is left over, or if any test got a
// token, a key or a target's credential into the log.
func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	for _, secret := range suite.secrets {
		if strings.Contains(suite.log.String(), secret) {
			fmt.Fprintf(os.Stderr, "the log tells a secret: %s\n", secret)
			code = 1
		}
	}
	os.Exit(code)
}
