package wire

import "fmt"

// A Notice is NOTICE's payload: what the relay does not grant of what the link's
// agent has declared, though the rest of it stands. Each replaces the one
// before.
type Notice struct {
	Refused []Refusal `json:"refused"`        // at most MaxRefusals
	More    int       `json:"more,omitempty"` // how many others
}

// A Refusal is an address by which a target cannot be had in proxy mode. In path
// mode it can.
type Refusal struct {
	Target  string `json:"target"`
	Address string `json:"address"`
	Why     string `json:"why"` // for a person
}

// MaxRefusals bounds a Notice, which must fit one message: of the longest names
// and addresses this is half of one.
const MaxRefusals = 64

// maxWhy bounds what a refusal says, in bytes.
const maxWhy = 128

// Why a refusal is one.
const (
	WhyClaimed = "another agent has declared it earlier, or its token is bound to it"
	WhyOwn     = "it is the relay's own"
	WhyUnbound = "the token is bound to other addresses"
)

// ParseNotice decodes NOTICE's payload, and clips what it says.
func ParseNotice(payload []byte) (*Notice, error) {
	n, err := parseControl[Notice]("NOTICE", payload)
	if err != nil {
		return nil, err
	}
	if len(n.Refused) > MaxRefusals || n.More < 0 {
		return nil, fmt.Errorf("NOTICE of %d refusals and %d more: %w", len(n.Refused), n.More, ErrTooLarge)
	}
	for i := range n.Refused {
		r := &n.Refused[i]
		r.Target, r.Address, r.Why = clipTo(r.Target, 64), clipTo(r.Address, MaxAddress), clipTo(r.Why, maxWhy)
	}
	return n, nil
}
