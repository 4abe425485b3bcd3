package token

import (
	"encoding/hex"

	"github.com/golang-jwt/jwt/v5"
)

// Unchecked returns the IDs of a token and of the key that it says has signed it,
// for a log that tells refused ones apart. Nothing of it is checked: whoever shows
// it may have made it up. What has not the shape of an ID is empty, so that it is
// neither long nor a secret.
func Unchecked(token string) (id, key string) {
	if len(token) > maxSize {
		return "", ""
	}
	var b body
	t, _, err := jwt.NewParser().ParseUnverified(token, &b)
	if err != nil {
		return "", ""
	}
	key, _ = t.Header["kid"].(string)
	return shaped(b.ID, idSize), shaped(key, keyIDSize)
}

// shaped is s if it is size bytes in hexadecimal, else empty.
func shaped(s string, size int) string {
	if decoded, err := hex.DecodeString(s); err != nil || len(decoded) != size {
		return ""
	}
	return s
}
