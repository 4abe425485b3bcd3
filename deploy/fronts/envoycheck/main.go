// Command envoycheck checks a configuration of Envoy's against Envoy's own
// protobufs and their constraints, and that it keeps links, long scrapes and
// replicas whose agents are offline. It is a module of its own, so that the
// project does not depend on Envoy's.
package main

import (
	"fmt"
	"os"
	"time"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"sigs.k8s.io/yaml"
)

const (
	// longestScrape is FARSCRAPE_SCRAPE_MAX_TIMEOUT.
	longestScrape = 5 * time.Minute
	// relayIdle is how long the relay keeps an idle connection.
	relayIdle = 620 * time.Second
)

func main() {
	if err := check(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "envoycheck: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func check(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	json, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	var b bootstrap.Bootstrap
	if err := protojson.Unmarshal(json, &b); err != nil { // unknown fields are errors
		return err
	}
	// The generated constraints stop at an Any: every message is asked by itself.
	var managers, upstreams int
	err = protorange.Range(b.ProtoReflect(), func(p protopath.Values) error {
		m, ok := p.Index(-1).Value.Interface().(protoreflect.Message)
		if !ok {
			return nil
		}
		if v, ok := m.Interface().(interface{ ValidateAll() error }); ok {
			if err := v.ValidateAll(); err != nil {
				return err
			}
		}
		switch m := m.Interface().(type) {
		case *hcm.HttpConnectionManager:
			managers++
			return checkManager(m)
		case *upstream.HttpProtocolOptions:
			upstreams++
			if idle := m.GetCommonHttpProtocolOptions().GetIdleTimeout(); idle == nil || idle.AsDuration() >= relayIdle {
				return fmt.Errorf("idle connections to the relay must end before it ends them, after %v", relayIdle)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case managers == 0:
		return fmt.Errorf("no HTTP connection manager")
	case upstreams != len(b.StaticResources.Clusters):
		return fmt.Errorf("a cluster has no HttpProtocolOptions")
	}
	for _, c := range b.StaticResources.Clusters {
		o := c.OutlierDetection
		if o == nil {
			continue
		}
		if o.EnforcingConsecutive_5Xx.GetValue() != 0 || o.EnforcingConsecutive_5Xx == nil ||
			o.EnforcingConsecutiveGatewayFailure.GetValue() != 0 ||
			o.EnforcingSuccessRate == nil || o.EnforcingSuccessRate.GetValue() != 0 || !o.SplitExternalLocalOriginErrors {
			return fmt.Errorf("cluster %s: answers of healthy replicas would eject them", c.Name)
		}
	}
	return nil
}

func checkManager(m *hcm.HttpConnectionManager) error {
	if len(m.UpgradeConfigs) != 1 || m.UpgradeConfigs[0].UpgradeType != "websocket" {
		return fmt.Errorf("no WebSockets")
	}
	if m.StreamIdleTimeout.AsDuration() <= longestScrape {
		return fmt.Errorf("stream_idle_timeout cuts a scrape of %v", longestScrape)
	}
	links := false
	for _, host := range m.GetRouteConfig().GetVirtualHosts() {
		if host.RetryPolicy.GetRetryOn() != "connect-failure" {
			return fmt.Errorf("%s: a scrape that was sent may be repeated", host.Name)
		}
		for _, r := range host.Routes {
			to, path := r.GetRoute(), r.GetMatch().GetPath()
			links = links || path == "/agent/connect"
			if !lasts(to, path == "/agent/connect") {
				return fmt.Errorf("the route %s%s has a timeout that cuts it", path, r.GetMatch().GetPrefix())
			}
		}
	}
	if !links {
		return fmt.Errorf("no route for /agent/connect")
	}
	return nil
}

// lasts reports whether a route lets a link last for ever, or a scrape as long
// as it may take. A timeout that is not set is Envoy's, 15 s.
func lasts(to *route.RouteAction, link bool) bool {
	set := func(d *durationpb.Duration) bool { return d != nil && d.AsDuration() > 0 }
	if link {
		return to.Timeout != nil && to.Timeout.AsDuration() == 0 && set(to.IdleTimeout) && to.IdleTimeout.AsDuration() >= 30*time.Second
	}
	return set(to.Timeout) && to.Timeout.AsDuration() > longestScrape
}
