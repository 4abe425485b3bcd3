// Package settings is what both commands do with their environment: fill a
// config struct, explain it, warn of what nobody reads, watch the files it
// names, log and tell their version.
//
// A field of a config struct is a variable:
//
//	Links int `env:"LINKS" envDefault:"2" help:"links to keep, each to another replica"`
//
// is FARSCRAPE_LINKS. Secrets are strings, never of a type whose parsing could
// fail and quote them.
package settings

// Prefix starts the name of every variable of ours.
const Prefix = "FARSCRAPE_"
