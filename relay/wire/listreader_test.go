package wire_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// listForms are target lists of all the forms that encoding/json takes, or nearly
// takes.
var listForms = []string{
	``, `null`, `[]`, `{}`, `[`, `[{"name":"a"}`, `[{"name":"a"},]`, `[{"name":"a"}]]`, ` [ { "name" : "a" } ] `, `[{"name":"a"}]` + "\n",
	`[{"name":"a"},{"name":"b","scheme":"https","address":"h:1","port":9100,"path":"/p/","subtree":true,"labels":{"a":"1","b":""},"listed":true}]`,
	`[{"name":"a","listed":false}]`, `[{"name":"a","listed":null}]`, `[{"name":"a","listed":tru}]`, `[{"name":"a","listed":1}]`,
	`[{"port":1,"name":"a"}]`, `[{"NAME":"a"}]`, `[{"name":"a","name":"b"}]`, `[{"name":"a","new":[{}]}]`, `[{"name":null}]`, `[{}]`, `[null]`,
	`[{"name":"a","path":"/","scheme":"http"}]`, `[{"name":"a","scheme":"http","scheme":"https"}]`, `[{"name":"a","scheme":"ftp"}]`,
	`[{"name":"a","port":0}]`, `[{"name":"a","port":065}]`, `[{"name":"a","port":65535}]`, `[{"name":"a","port":65536}]`, `[{"name":"a","port":-1}]`,
	`[{"name":"a","port":1.0}]`, `[{"name":"a","port":1e1}]`, `[{"name":"a","port":"1"}]`, `[{"name":"a","port":}]`, `[{"name":"a","port":1`,
	`[{"name":"a","subtree":false}]`, `[{"name":"a","path":"/","subtree":truer}]`, `[{"name":"a","subtree":true}]`,
	`[{"name":"a","labels":{}}]`, `[{"name":"a","labels":null}]`, `[{"name":"a","labels":{"a":null}}]`, `[{"name":"a","labels":{"a":"1","a":"2"}}]`,
	`[{"name":"a","labels":{"a":"1"},"labels":{"b":"2"}}]`, `[{"name":"a","labels":{"a":"1",}}]`, `[{"name":"a","labels":{"a" :"1"}}]`, `[{"name":"a","labels":{"a-b":""}}]`,
	`[{"name":"a","labels":{"a":"R\u0026D \"\\\/\b\f\n\r\t\u00e9\ud83d\ude00","b":"é😀\u007f","\u0063":"\ud83d \ude00"}}]`,
	`[{"name":"a","labels":{"a":"\x"}}]`, `[{"name":"a","labels":{"a":"\u12"}}]`, `[{"name":"a","labels":{"a":"\"}}]`, `[{"name":"a","labels":{"a":"\`,
	"[{\"name\":\"a\",\"labels\":{\"a\":\"\xff\xc3\"}}]", "[{\"name\":\"a\",\"labels\":{\"a\":\"\n\"}}]", "[{\"name\":\"a\",\"labels\":{\"a\":\"\x00\"}}]",
	`[{"name":"a"},{"name":"a"}]`, `[{"name":"a/b"}]`, `[{"name":"a","address":"h"}]`,
}

// parseTargetsByReflection is what ParseTargets comes to.
func parseTargetsByReflection(list string) ([]wire.Target, error) {
	var targets []wire.Target
	if err := json.Unmarshal([]byte(list), &targets); err != nil {
		return nil, err
	}
	for i := range targets {
		if len(targets[i].Labels) == 0 {
			targets[i].Labels = nil
		}
	}
	return targets, wire.CheckTargets(targets)
}

// A list with all that a target may have, as a replica writes it, is read without
// reflection: the least is an allocation for each of the name, the address, what is
// listed, and two for the labels.
func TestAListAsReplicasWriteItIsReadFast(t *testing.T) {
	listed := true
	want := make([]wire.Target, 1000)
	for i := range want {
		want[i] = wire.Target{Name: fmt.Sprint("t", i), Scheme: "http", Address: fmt.Sprint("h:", i+1), Port: 9100, Path: "/a/", Subtree: true,
			Labels: map[string]string{"job": "node", "site": "berlin"}, Listed: &listed}
	}
	for field, value := range reflect.ValueOf(want[0]).Fields() {
		if value.IsZero() {
			t.Fatalf("%s has to be set here", field.Name)
		}
	}
	list, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got []wire.Target
	allocs := testing.AllocsPerRun(10, func() { got, err = wire.ParseTargets(string(list)) })
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%d targets come back as %d, %v", len(want), len(got), err)
	}
	if each := allocs / float64(len(want)); each > 8 {
		t.Errorf("%.1f allocations a target", each)
	}
}

// A label that is there many times takes the place of one.
func TestADoubledLabelTakesNoMemory(t *testing.T) {
	target := `{"name":"%d","labels":{` + strings.Repeat(`"a":"",`, wire.MaxLabels-1) + `"a":""}}`
	list := []byte("[")
	for i := range 5000 {
		list = append(fmt.Appendf(list, target, i), ',')
	}
	list[len(list)-1] = ']'
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	targets, err := wire.ParseTargets(string(list))
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if heap, size := int(after.HeapAlloc)-int(before.HeapAlloc), wire.NewTargetList(targets).Size(); heap > 3*size/2 {
		t.Errorf("%d bytes in memory, and Size is %d", heap, size)
	}
	runtime.KeepAlive(targets)
	runtime.KeepAlive(list)
}
