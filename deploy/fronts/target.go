//go:build ignore

// Command target is what check.sh scrapes through a front: a body with a sum at
// its end, and one that breaks off. It serves on the address of its argument.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"
)

// size of both bodies: more than fits any window, so that the header is out
// before the break.
const size = 8 << 20

func main() {
	var whole bytes.Buffer
	for i := 0; whole.Len() < size; i++ {
		fmt.Fprintf(&whole, "front_sample{n=\"%d\"} %d\n", i, i)
	}
	fmt.Fprintf(&whole, "# sum %x\n", sha256.Sum256(whole.Bytes()))
	small := []byte("front_small 1\n")

	http.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(whole.Bytes()) })
	http.HandleFunc("/small", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(small) })
	// It takes a moment, so that some are in flight whenever a replica stops.
	http.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(300 * time.Millisecond)
		_, _ = w.Write(small)
	})
	http.HandleFunc("/breaks", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(whole.Bytes()[:size/2]) // in chunks, without a length
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
