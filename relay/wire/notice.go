package wire

import "fmt"

// A Notice is NOTICE's payload: what the relay does not grant of what the link's
// agent has declared, though the rest of it stands. Each replaces the one
// before.
type Notice struct {
	Refused []RefusedAddress `json:"refused"`        // at most MaxRefused
	More    int              `json:"more,omitempty"` // how many others
}

// A RefusedAddress is one by which a target cannot be had in proxy mode. In path
// mode it can.
type RefusedAddress struct {
	Target  string `json:"target"`
	Address string `json:"address"`
	Why     string `json:"why"` // for a person
}

// MaxRefused bounds a Notice, which must fit one message: of the longest names
// and addresses this is half of one.
const MaxRefused = 64

// maxWhy bounds what a refusal says, in bytes.
const maxWhy = 128

// Why tells a person why an address is refused; nothing if it is not.
func (s Standing) Why() string {
	switch s {
	case AddressOwn:
		return "it is the relay's own"
	case AddressUnbound:
		return "the token is bound to other addresses"
	case AddressTaken:
		return "another agent has declared it earlier, or its token is bound to it"
	}
	return ""
}

// ParseNotice decodes NOTICE's payload, and clips what it says.
func ParseNotice(payload []byte) (*Notice, error) {
	n, err := parseControl[Notice]("NOTICE", payload)
	if err != nil {
		return nil, err
	}
	if len(n.Refused) > MaxRefused || n.More < 0 {
		return nil, fmt.Errorf("NOTICE of %d refusals and %d more: %w", len(n.Refused), n.More, ErrTooLarge)
	}
	for i := range n.Refused {
		r := &n.Refused[i]
		r.Target, r.Address, r.Why = clipTo(r.Target, 64), clipTo(r.Address, MaxAddress), clipTo(r.Why, maxWhy)
	}
	return n, nil
}
