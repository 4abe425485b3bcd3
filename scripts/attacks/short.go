package main

import "strings"

// short names the attacks of the short campaign: one or two of each family, none
// of which takes long.
func short() []string {
	return strings.Fields(`
		cl-and-te post-te-and-cl two-lengths get-chunked-body nul-in-field two-hosts fields-10000 field-of-1MB pipelined
		connect userinfo address-mapped-metadata dots-encoded-slashes agent-homoglyph agent-of-other-tenant
		timeout-nan connection-names-fields token-alg-none token-of-other-tenant leak-basic-unpadded leak-cookie
		scrapes-dropped agents-unknown lists-at-once streams-replayed own-sd own-scrape own-metrics
		upgrade-name-of-other upgrade-other-version upgrade-bad-tokens hello-other-name handshakes-of-agent links-120
		frame-text frame-must frame-unmasked frame-length-2-63
		answer-nack-unauthorized answer-status-999 answer-two-heads answer-beyond-credit answer-crlf answer-shorter fields-origin
		list-slash list-doubled lists-of-4MB change-of-nothing change-of-addresses flood-lists crowd-links crowd-events name-shared-epoch-1 name-pattern squat-earlier squat-name revoked-deaf revoked-half-linked join-as-victim join-crowd
		certificate-other-ca certificate-scrapers-name certificate-listed
		proxy-header proxy-header-of-stranger proxy-header-twice proxy-header-64-KB
		target-garbage target-status-999 target-short target-chunk-cut target-large-cut target-gzip-1000
		target-redirect-metadata target-redirect-port target-endless
		relay-undeclared relay-rest-dots relay-framing-fields relay-text relay-welcome-negative relay-redirects
		bus-stream-2-64 bus-request bus-garbage redis-wrong-type redis-record-target
		port-in-use-listen secret-in-public-url sighup no-inotify`)
}
