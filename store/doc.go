// Package store holds what replicas share: the directory, which says who holds
// which agent, and the bus, which carries frames from replica to replica.
//
// [Memory] is the embedded one: one replica, nothing to run beside it. [Redis]
// makes a relay of many replicas. Both have the same methods and pass the same
// suite, package storetest; relay declares the interfaces it uses them by.
//
// # The directory in Redis
//
// A replica holds one lease, which it renews twice a second, and its links stand as
// long as that does: a directory in which nothing changes costs Redis nothing.
// {prefix}replicas:about has for each replica when its lease ends, and what it says of
// itself: the lease's ID, its keys, what it can do. A lease that has ended is dropped
// there by any other replica, and is not taken up again: who was stopped, or cut off,
// for so long draws another, and registers all of its links anew. While Redis answers
// nobody, no lease ends. {prefix}replicas names the living for earlier versions, with
// how many links each holds.
//
// Everything about an agent is in one hash, {prefix}agent:{tenant/agent}, whose
// braces keep it in one slot of a Cluster. Its field "links" has a line for
// each link with its epoch and the lease that it stands on, and "d:" and a link's ID
// name the rest of its entry, in JSON; "yielding" names the links whose token is for a
// pattern, and "lists" has the hash and the size of each link's target list, which stands
// in the entry if it is short. All
// changes are made by the scripts in scripts/, which judge times by Redis's own
// clock: the clocks of replicas do not count. Which leases have ended no script can
// see from there, on a Cluster: whoever reads a record judges, by a count of replicas
// at most one look old, and by a new one where a lease is a stranger's. A replica is
// counted before it writes its first link, so who is missing then has gone. A departed
// agent keeps the line of its newest link until the key goes, and who lists it notes
// its end there, if its replica could not.
//
// Every link is looked for in its record once in an [Audit], which also keeps the
// record and the tenant's index from ending. A link that was displaced is named in
// {prefix}nudges:{replica}, where its replica looks twice a second.
//
// What could not be renewed is not known to be gone. While Redis takes no writes,
// being full, or is away, the leases that stood go on, for an hour at most: whoever
// has gone meanwhile is found out by the first scrape.
//
// {prefix}list:{tenant}:{hash} is a longer target list: once, whichever of the tenant's
// agents have it. It names them, so it goes some seconds after the last of them has
// another, and has how it was made of other lists, if it was: so a replica says what has
// changed of a list, and another reads that. An agent is entered there before its record
// has the hash, and taken out after its record has another; as these lie in different
// slots, that may cross, and then whoever misses the list has it entered anew. Replicas of an
// earlier version find a list only in its entry: there it stands while one is alive, and
// for an hour after.
//
// {prefix}index:{tenant} is the set of a tenant's agents, and has with each when its
// record last changed: whoever has listed a tenant before reads only what has changed
// since, and reads it whole when a lease has ended, Redis was disturbed, or half an hour
// has passed. It lies in another slot, so it cannot change in the same script: it may
// name an agent too many, whose record is gone, and is completed with each audit.
//
// {prefix}usage:{tenant} counts what its listed agents take, for [TenantLimits]: a
// new link, and one with more targets, asks there first. It is completed with each
// audit, too, and a full tenant is looked through for what is listed no longer.
//
// {prefix}revoked is what has been taken back: of each subject when that was last made,
// when it was last lifted, and before when what was issued is dead. Copies of it join by
// the later of each, so every replica keeps what it ever saw, and writes what Redis has
// lost back into it. A replica looks once a second whether it has changed, and tells in
// {prefix}revoked:order:{id} that it has carried an order out, with how many links it
// closed.
//
// {prefix}{join}:born, whose braces are its own, is since when it is counted who joins;
// beside it {join}:names:{tenant} has who has joined by which name, and
// {join}:uses:{token} who has by which token, and {join}:tokens which tokens were
// redeemed. They are in one slot, and one script reads
// and writes them, so a token is redeemed exactly so often.
//
// {prefix}generation:{n} are
// drawn once: where one is missing or has changed, Redis has been emptied, and
// until [Grace] has passed nobody can say that an agent does not exist.
//
// # The journals in Redis
//
// {prefix}events:{tenant} is a stream of what has happened to the tenant's agents: each
// entry has one field, "event", a [wire.Event] in JSON with how old it was then. It is
// cut at a number of events and at a day. Nothing else depends on it.
//
// # The bus in Redis
//
// Each replica subscribes to one channel, {prefix}inbox:{replica}. In a Cluster that
// has sharded pub/sub it does so by either kind and says it, and is sent to by the
// sharded one, whose messages stay at one node: see [PubSub]. Pub/sub
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
// a killed replica, too, is missed only when its lease ends. And so may SSUBSCRIBE and
// SPUBLISH: then a Cluster sends every message to all of its nodes.
package store
