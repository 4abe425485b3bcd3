package token

import "errors"

// A Cause says why a credential was refused. Causes are labels of a metric, and so
// few and fixed.
type Cause string

// None is the cause of what is not refused for its credential.
const None Cause = ""

// What is refused though it verifies, and what shows nothing to verify. Verify's own
// errors and those of tokens that were taken back are beside what returns them.
var (
	// ErrNotShown: there is none.
	ErrNotShown = errors.New("no token is shown")
	// ErrRole: an agent's token where a scraper's is needed, or the other way round.
	ErrRole = errors.New("token is of the other role")
	// ErrNetwork: it is shown from outside its networks.
	ErrNetwork = errors.New("token is bound to other networks")
	// ErrName: it does not allow the name that its holder goes by.
	ErrName = errors.New("token is for another name")
)

// causes is the one table of what refuses a credential. The first that fits counts:
// some errors are an ErrInvalid, and say more.
var causes = []struct {
	err   error
	cause Cause
}{
	{ErrNotShown, "not_shown"},
	{ErrOtherKey, "other_key"},
	{ErrNotYet, "not_yet_valid"},
	{ErrInvalid, "not_ours"},
	{ErrExpired, "expired"},
	{ErrRole, "role"},
	{ErrNetwork, "network"},
	{ErrName, "name"},
	{ErrRevoked, "revoked"},
	{ErrRevokedUnknown, "revoked_unknown"},
}

// CauseOf is the cause of a refusal by that error; None of any other, and of nil.
func CauseOf(err error) Cause {
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.cause
		}
	}
	return None
}

// Causes lists every cause, for a metric that wants all its labels from the start.
func Causes() []Cause {
	all := make([]Cause, len(causes))
	for i, c := range causes {
		all[i] = c.cause
	}
	return all
}
