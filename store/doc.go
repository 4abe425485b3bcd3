// Package store holds what replicas share: the directory, which says who holds
// which agent, and the bus, which carries frames from replica to replica.
//
// [Memory] is the embedded one: one replica, nothing to run beside it. [Redis]
// makes a relay of many replicas. Both have the same methods and pass the same
// suite, package storetest; relay declares the interfaces it uses them by.
//
// # The directory in Redis
//
// Everything about an agent is in one hash, {prefix}agent:{tenant/agent}, whose
// braces keep it in one slot of a Cluster. Its field "links" has a line for
// each link with its epoch and expiry, and "d:" and a link's ID name the rest
// of that lease, in JSON; "yielding" names the links whose token is for a
// pattern, and "lists" has the hash and the size of each link's target list. All
// changes are made by the scripts in scripts/, which judge expiry by Redis's own
// clock: the clocks of replicas do not count. A departed agent keeps the line of its
// newest link, expired, until the key goes.
//
// What could not be renewed is not known to be gone. While Redis takes no writes,
// being full or away, the leases that run out count as live all the same, for an
// hour at most, and for the time of a lease after it takes them again: whoever
// has gone meanwhile is found out by the first scrape.
//
// {prefix}index:{tenant} is the set of a tenant's agents. It lies in another
// slot, so it cannot change in the same script: it may name an agent too many,
// whose record is gone, and is completed with each renewal.
//
// {prefix}usage:{tenant} counts what its listed agents take, for [TenantLimits]: a
// new lease, and one with more targets, asks there first. It is completed with each
// renewal, too, and a full tenant is looked through for what is listed no longer.
//
// {prefix}replicas names the living replicas, with how many links each holds, and
// {prefix}replicas:about says what they can do and which keys they have.
// {prefix}generation:{n} are
// drawn once: where one is missing or has changed, Redis has been emptied, and
// until [Grace] has passed nobody can say that an agent does not exist.
//
// # The bus in Redis
//
// Each replica subscribes to one channel, {prefix}inbox:{replica}. Pub/sub
// delivers at most once, and a dead subscription looks like a quiet one, so
// envelopes are numbered, and a replica sends itself probes. Who was killed is
// missed within two looks at Redis, by PUBSUB NUMSUB; who was stopped or cut off, when its
// lease ends, and two looks. Envelopes are sealed with the relay's keys, so that
// writing to Redis alone reaches no agent.
//
// # What Redis must allow
//
// A user of Redis needs the keys and the channels that begin with the prefix,
// and the commands that deploy/README.md lists. INFO may be refused: then a server
// that was replaced is told from the old one only by what it lacks, and nothing
// warns of an eviction policy that would make agents vanish. So may PUBSUB NUMSUB: then
// a killed replica, too, is missed only when its lease ends.
package store
