-- Notes of agents that they name a target list, KEYS[1], no longer; its names are KEYS[2].
-- One that none names any more goes, but not at once: others may have read its name, and
-- not yet itself.
-- ARGV: how long it is kept then (ms), the agents.
-- Returns 1.

for i = 2, #ARGV do
  if failed(redis.pcall('ZREM', KEYS[2], ARGV[i])) then return 1 end -- there are no names
end
if #redis.call('ZRANGE', KEYS[2], 0, 0) == 0 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 1
