// Package route finds the way of a scrape: the agent that it means, the target, and
// the link that leads there, held here or by another replica. It asks the directory
// and keeps what that said for as long as it holds, lists tenants for discovery, and
// admits as many scrapes as an agent, a target and a replica can bear.
package route
