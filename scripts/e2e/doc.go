// Package e2e tests Farscrape as its users run it: the two commands as
// processes of their own, against real Redis, Prometheus, node exporter and
// nginx from Debian's packages. scripts/test.sh installs these; where one is
// missing its tests are skipped, or fail if FARSCRAPE_TEST_REQUIRE=1.
//
// Lines that begin with "figure:" are measurements, which scripts/test.sh
// prints; tests do not fail on a time.
package e2e
