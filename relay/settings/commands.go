package settings

import (
	"log/slog"
	"slices"
	"strings"
)

// RelayVariables are the variables that farscrape-relay reads, without our prefix,
// and AgentVariables those that farscrape-agent does. Each command knows the other's,
// since both are run in one shell: a key to mint with, then an agent.
func RelayVariables() []string {
	return []string{
		"LISTEN", "EDGE_LISTEN", "OPS_LISTEN", "WEB_CONFIG_FILE", "EDGE_WEB_CONFIG_FILE", "OPS_WEB_CONFIG_FILE", "REDIS_URL", "REDIS_URL_FILE", "REDIS_TLS_CA_FILE",
		"REDIS_TLS_CERT_FILE", "REDIS_TLS_KEY_FILE", "REDIS_PREFIX", "REDIS_PUBSUB", "BUS_SEAL", "KEY", "KEY_FILE", "TOKEN_MAX_LIFE", "AGENT_AUTH", "EDGE_AUTH",
		"AGENT_SPIFFE", "SCRAPER_SPIFFE", "SCRAPER_DNS_NAMES", "CLIENT_CRL_FILE",
		"REVOKED_FILE", "REVOKED_UNKNOWN", "PUBLIC_URL", "OWN_HOSTS", "ORIGIN_FORM", "TRUSTED_PROXIES", "PROXY_PROTOCOL", "SCRAPE_TIMEOUT", "SCRAPE_MAX_TIMEOUT",
		"MAX_BODY", "MAX_INFLIGHT_TARGET", "MAX_INFLIGHT_AGENT", "MAX_LINKS", "AGENT_MAX_TARGETS", "AGENT_MAX_LABELS",
		"AGENT_MAX_BYTES", "TENANT_MAX_AGENTS", "TENANT_MAX_TARGETS", "TENANT_MAX_BYTES", "LINK_MAX_AGE",
		"DRAIN_TIMEOUT", "SD_KEEP", "SD_GRACE", "LOG_LEVEL", "LOG_FORMAT",
	}
}

// AgentVariables is told of at RelayVariables.
func AgentVariables() []string {
	return []string{
		"RELAY_URL", "TOKEN", "TOKEN_FILE", "JOIN_TOKEN_FILE", "NAME", "TARGETS", "TARGETS_FILE", "LABELS", "LINKS", "SHARED",
		"EPHEMERAL", "LISTEN", "WEB_CONFIG_FILE", "TLS_CA_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE", "HEADERS_FILE", "STATE_DIR", "LOG_LEVEL",
		"LOG_FORMAT",
	}
}

// Names lists the variables that fill the struct which dst points to, without our
// prefix.
func Names(dst any) []string {
	var names []string
	for _, v := range variables(dst) {
		names = append(names, strings.TrimPrefix(v.name, Prefix))
	}
	return names
}

// TellUnread logs the variables of ours in environ that no field of dst reads: a
// warning of those that nobody does, and a word of those that only the other
// command does.
func TellUnread(log *slog.Logger, dst any, environ []string) {
	for _, name := range Unknown(dst, environ) {
		log.Warn("unknown variable: no command reads it", "variable", name, "mend", "see -help for those that are read")
	}
	if others := othersIn(dst, environ); len(others) > 0 {
		log.Info("variables of the other command are set: this one does not read them", "variables", strings.Join(others, " "))
	}
}

// othersIn lists the variables in environ that only the other command reads, sorted.
func othersIn(dst any, environ []string) []string {
	ours, all := Names(dst), slices.Concat(RelayVariables(), AgentVariables())
	var others []string
	for _, entry := range environ {
		full, _, _ := strings.Cut(entry, "=")
		if name, ok := strings.CutPrefix(full, Prefix); ok && slices.Contains(all, name) && !slices.Contains(ours, name) {
			others = append(others, full)
		}
	}
	slices.Sort(others)
	return others
}
