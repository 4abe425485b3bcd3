-- Drops the record of a departed agent. ARGV: the leases that have ended.
-- Returns 0 if the agent is connected.

for _, l in ipairs(readLinks(ARGV[1])) do
  if l.expiry > now then
    return 0
  end
end
redis.call('DEL', KEYS[1])
return 1
