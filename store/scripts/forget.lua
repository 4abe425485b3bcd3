-- Drops the record of a departed agent. ARGV: the leases that have ended.
-- Returns nil if the agent is connected, else the lists that the record named.

for _, l in ipairs(readLinks(ARGV[1])) do
  if l.expiry > now then
    return false
  end
end
redis.call('DEL', KEYS[1])
return dropped()
