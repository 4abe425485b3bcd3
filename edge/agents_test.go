package edge

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestClients(t *testing.T) {
	b := newBench(t)
	if o := b.get(t, "/clients"); o.body != "[]\n" {
		t.Errorf("none: %q", o.body)
	}
	b.agents = append(listing(), agentOf("default", "a", nil, "r1"))
	if o := b.get(t, "/clients"); o.body != `[{"targets":["a"],"labels":null},{"targets":["edge-1"],"labels":null}]`+"\n" {
		t.Errorf("%q", o.body)
	}
}

func TestAgentsPage(t *testing.T) {
	b := newBench(t)
	b.agents = []wire.Agent{
		agentOf("default", "edge-2", nil),
		agentOf("default", "edge-1", []wire.Target{{Name: "node", Scheme: "http", Port: 9100, Path: "/metrics"}}, "r1", "r2"),
	}
	o := b.get(t, "/api/v1/agents")
	const want = `{"agents":[` +
		`{"agent":"edge-1","tenant":"default","connected":true,"last_seen":"2126-11-20T12:00:00.5Z","remote_addr":"192.0.2.7:50000","version":"1.2.3","token_expiry":"2027-01-02T03:04:05Z","replicas":["r1","r2"],"targets":[{"name":"node","scheme":"http","port":9100,"path":"/metrics"}]},` +
		`{"agent":"edge-2","tenant":"default","connected":false,"last_seen":"2126-11-20T12:00:00.5Z","last_close_cause":"timeout","remote_addr":"192.0.2.7:50000","version":"1.2.3","token_expiry":"2027-01-02T03:04:05Z","replicas":[],"targets":[]}]}` + "\n"
	if o.body != want {
		t.Errorf("%s\nwant\n%s", o.body, want)
	}
}

func TestForgetAgent(t *testing.T) {
	b := newBench(t)
	del := func(name, credential string) outcome {
		return b.send(t, "DELETE /api/v1/agents/"+name+" HTTP/1.1\nHost: x\nAuthorization: Bearer "+credential+"\n\n")
	}
	del("Edge%2D1", b.narrow).want(t, http.StatusNoContent, "")
	if want := []wire.AgentKey{{Tenant: "blue", Agent: "edge-1"}}; !slices.Equal(b.forgot, want) {
		t.Errorf("forgot %v", b.forgot)
	}
	del("core-1", b.narrow).want(t, 404, "agent_unknown")
	del("..%2f..", b.scraper).want(t, 400, "bad_request")
	del("edge-1", b.agent).want(t, 403, "forbidden")
	del("edge-1", "nonsense").want(t, 401, "unauthorized")
	if len(b.forgot) != 1 {
		t.Errorf("forgot %v", b.forgot)
	}
	b.forget = wire.Errorf(wire.BadRequest, "still connected")
	del("edge-1", b.scraper).want(t, 400, "bad_request")
	b.send(t, "GET /api/v1/agents/edge-1 HTTP/1.1\nHost: x\nAuthorization: Bearer "+b.scraper+"\n\n").want(t, 405, "method")
}

func TestAgentMetrics(t *testing.T) {
	b := newBench(t)
	b.agents = listing()
	b.agents[0].LastSeen, b.agents[0].Last.TokenExpiry, b.agents[0].Last.Version = time.Time{}, time.Time{}, "\xff"
	o := b.get(t, "/metrics/agents")
	o.want(t, 200, "")
	const want = `# HELP farscrape_directory_agent_connected Whether the agent has a live link to any replica.
# TYPE farscrape_directory_agent_connected gauge
farscrape_directory_agent_connected{agent="edge-1",tenant="default"} 1
farscrape_directory_agent_connected{agent="edge-2",tenant="default"} 0
# HELP farscrape_directory_agent_info The agent's version.
# TYPE farscrape_directory_agent_info gauge
farscrape_directory_agent_info{agent="edge-1",tenant="default",version="1.2.3"} 1
farscrape_directory_agent_info{agent="edge-2",tenant="default",version="?"} 1
# HELP farscrape_directory_agent_last_seen_timestamp_seconds When the agent was last known to be linked.
# TYPE farscrape_directory_agent_last_seen_timestamp_seconds gauge
farscrape_directory_agent_last_seen_timestamp_seconds{agent="edge-1",tenant="default"} 4.9508496005e+09
# HELP farscrape_directory_agent_token_expiry_timestamp_seconds When the agent's token expires, or its certificate, unless that lives for days only; absent if never.
# TYPE farscrape_directory_agent_token_expiry_timestamp_seconds gauge
farscrape_directory_agent_token_expiry_timestamp_seconds{agent="edge-1",tenant="default"} 1.798859045e+09
`
	if o.body != want {
		t.Errorf("%s\nwant\n%s", o.body, want)
	}
}
