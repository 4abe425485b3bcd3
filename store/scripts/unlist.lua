-- Notes of agents that they name a target list, KEYS[1], no longer. One that none names
-- any more goes, but not at once: others may have read its name, and not yet itself.
-- ARGV: how long it is kept then (ms), the agents.
-- Returns 1.

local names = redis.pcall('HGET', KEYS[1], 'names')
local bad, foreign = failed(names)
if bad and not foreign then return names end
if foreign or not names then return 1 end
local left = tonumber(names) or 0
for i = 2, #ARGV do left = left - redis.call('HDEL', KEYS[1], '@' .. ARGV[i]) end
redis.call('HSET', KEYS[1], 'names', number(left))
if left <= 0 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 1
