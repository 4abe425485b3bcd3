package token

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

func TestATokenIsFoundWhereverItStands(t *testing.T) {
	k := ring(t, keyA, keyB)
	scraper, _, err := k.Mint(Claims{Role: Scraper, Name: "p"}, noon)
	if err != nil {
		t.Fatal(err)
	}
	old, _, err := ring(t, keyB).Mint(Claims{Role: Agent, Name: "edge", Expires: noon.Add(time.Hour)}, noon)
	if err != nil {
		t.Fatal(err)
	}
	theirs, _, err := ring(t, "nobody's-key-that-is-long-enough-too").Mint(Claims{Role: Scraper, Name: "p"}, noon)
	if err != nil {
		t.Fatal(err)
	}
	later := noon.Add(24 * time.Hour)
	for _, around := range []string{"%", "Bearer %", "Bearer\t%", "a=b;c=%;d=e", `"%"`, "x%x", "http://%:x@relay", "eyJ.eyJ.%.%", strings.Repeat("eyJ", 100) + "." + "%"} {
		text := strings.ReplaceAll(around, "%", scraper)
		for _, text := range []string{
			text, strings.ReplaceAll(around, "%", old),
			"Basic " + base64.StdEncoding.EncodeToString([]byte(text)),
			"Basic\t" + base64.RawURLEncoding.EncodeToString([]byte(text)),
			"c=" + base64.URLEncoding.EncodeToString([]byte(text)) + "; x=y",
		} {
			if !k.Within(text, later) {
				t.Errorf("not found in %s", text)
			}
		}
		if text := strings.ReplaceAll(around, "%", theirs); k.Within(text, later) {
			t.Errorf("somebody else's is taken for ours in %s", text)
		}
	}
	for _, text := range []string{"", "eyJ", "eyJ.", "eyJ..", "eyJ.e30." + strings.Repeat("x", 43), scraper[:len(scraper)-1], scraper[1:], strings.Repeat("x", 1<<16), strings.Repeat("/", 1<<16)} {
		if k.Within(text, later) {
			t.Errorf("found in %.100q", text)
		}
	}
}

// Nothing around a token hides it, and nothing makes the search fall over.
func FuzzWithin(f *testing.F) {
	k := ring(f, keyA)
	scraper, _, err := k.Mint(Claims{Role: Scraper, Name: "p"}, noon)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("Bearer ", "")
	f.Add("eyJ.eyJ", ".eyJ")
	f.Add("Basic ZXlK", "==")
	f.Fuzz(func(t *testing.T, before, after string) {
		_ = k.Within(before+after, noon)
		if !k.Within(before+scraper+after, noon) {
			t.Error("not found")
		}
		if !k.Within("Basic "+base64.StdEncoding.EncodeToString([]byte(before+scraper+after)), noon) {
			t.Error("not found in base64")
		}
	})
}

// What is in almost each header of almost each scrape costs nothing to speak of,
// and what is made to cost is bounded by the header's own bounds.
func BenchmarkWithin(b *testing.B) {
	k := ring(b, keyA)
	scraper, _, err := k.Mint(Claims{Role: Scraper, Name: "p"}, noon)
	if err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string]string{
		"accept":     "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
		"token":      "Bearer " + scraper,
		"beginnings": strings.Repeat("eyJ.", 8<<10),
		"headers":    strings.Repeat(strings.Repeat("eyJ", 40)+"."+strings.Repeat("x", 43)+"."+strings.Repeat("x", 43), 32<<10/200),
		"tokens":     strings.Repeat("eyJhIjoxfQ.e30."+strings.Repeat("x", 43), 32<<10/58),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k.Within(text, noon)
			}
		})
	}
}
