package token

import (
	"errors"
	"testing"
	"time"
)

// renewable is a token of keyA's that was made at noon.
func renewable(t *testing.T, life time.Duration) Claims {
	t.Helper()
	c := Claims{Role: Agent, Name: "edge-1", Addresses: "10.*", Renewable: true}
	if life > 0 {
		c.Expires = noon.Add(life)
	}
	_, minted, err := ring(t, keyA).Mint(c, noon)
	if err != nil {
		t.Fatal(err)
	}
	return minted
}

func TestARenewedTokenSaysTheSame(t *testing.T) {
	old, later := renewable(t, 90*time.Hour), noon.Add(60*time.Hour)
	k := ring(t, keyB, keyA)
	signed, renewed, err := k.Renew(old, later, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Verify(signed, later); err != nil || got != renewed {
		t.Errorf("Verify = %+v, %v; want %+v", got, err, renewed)
	}
	want := old
	want.Issued, want.Expires, want.Key = later, later.Add(90*time.Hour), keyID([]byte(keyB))
	if renewed != want {
		t.Errorf("it says %+v, want %+v", renewed, want)
	}
	_, again, err := k.Renew(renewed, later.Add(time.Hour*80), 0)
	if err != nil || !again.First.Equal(noon) || again.ID != old.ID {
		t.Errorf("renewed again: %+v, %v", again, err)
	}
}

func TestWhenATokenIsToBeRenewed(t *testing.T) {
	year, endless := renewable(t, 90*time.Hour), renewable(t, 0)
	unmarked := year
	unmarked.Renewable = false
	for what, c := range map[string]struct {
		keys   *Keyring
		claims Claims
		want   time.Time
	}{
		"at two thirds":                 {ring(t, keyA, keyB), year, noon.Add(60 * time.Hour)},
		"once another key signs":        {ring(t, keyB, keyA), year, noon},
		"one that never ends":           {ring(t, keyA), endless, time.Time{}},
		"one that never ends, new keys": {ring(t, keyB, keyA), endless, noon},
		"one that is not marked":        {ring(t, keyB, keyA), unmarked, time.Time{}},
		"one of a key that is gone":     {ring(t, keyB), year, time.Time{}},
	} {
		if got := c.keys.RenewalDue(c.claims); !got.Equal(c.want) {
			t.Errorf("%s: at %s, want %s", what, got, c.want)
		}
	}
}

func TestNoTokenOutlivesItsMostLife(t *testing.T) {
	const most = 100 * time.Hour
	last := noon.Add(most)
	for what, c := range map[string]struct {
		keys *Keyring
		life time.Duration
		now  time.Time
		want time.Time // zero: it is not renewed
	}{
		"cut short":                       {ring(t, keyA), 90 * time.Hour, noon.Add(60 * time.Hour), last},
		"no longer than it was":           {ring(t, keyA), most, noon.Add(80 * time.Hour), time.Time{}},
		"no longer, but of a newer key":   {ring(t, keyB, keyA), most, noon.Add(80 * time.Hour), last},
		"over":                            {ring(t, keyB, keyA), 0, last, time.Time{}},
		"never ending, and of an old key": {ring(t, keyB, keyA), 0, noon, last},
		"never ending":                    {ring(t, keyA), 0, noon, time.Time{}},
	} {
		_, renewed, err := c.keys.Renew(renewable(t, c.life), c.now, most)
		if !renewed.Expires.Equal(c.want) || errors.Is(err, ErrNotRenewed) != c.want.IsZero() {
			t.Errorf("%s: until %s, %v; want %s", what, renewed.Expires, err, c.want)
		}
	}
}

// Who has the key of old can make such.
func TestWhatMayBeForgedIsNotRenewed(t *testing.T) {
	good, ahead := renewable(t, 90*time.Hour), noon.Add(time.Hour)
	early, late := good, good
	early.First, late.Issued = ahead, ahead
	for what, c := range map[string]struct {
		keys   *Keyring
		claims Claims
	}{
		"of a key that is gone":        {ring(t, keyB), good},
		"first issued in time to come": {ring(t, keyB, keyA), early},
		"issued in time to come":       {ring(t, keyB, keyA), late},
	} {
		if _, _, err := c.keys.Renew(c.claims, noon, 0); !errors.Is(err, ErrNotRenewed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestOnlyAnAgentsTokenForOneNameIsRenewable(t *testing.T) {
	for _, c := range []Claims{{Role: Agent, Name: "edge-*", Renewable: true}, {Role: Scraper, Name: "p", Renewable: true}} {
		if _, _, err := ring(t, keyA).Mint(c, noon); err == nil {
			t.Errorf("%+v is minted", c)
		}
	}
	if _, _, err := ring(t, keyB, keyA).Renew(Claims{Role: Agent, Name: "edge-1", Key: keyID([]byte(keyA))}, noon, 0); !errors.Is(err, ErrNotRenewed) {
		t.Errorf("one that is not marked: %v", err)
	}
}
