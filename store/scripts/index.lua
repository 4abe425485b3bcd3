-- Adds agents to their tenant's index, KEYS[1], whose scores say when that was
-- last done, later than anything before whatever the clock does. What is no index
-- there goes.
-- ARGV: how long the index is kept (ms), then the names.
-- Returns 1, or 0 if what there was has gone.

local whole = 1
local found = redis.pcall('ZSCORE', KEYS[1], '')
local bad, foreign = failed(found)
if bad and not foreign then return found end
if foreign then
  redis.call('DEL', KEYS[1])
  whole = 0
end
local latest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
local at = math.max(now, (tonumber(latest) or 0) + 1)
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], number(at), ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return whole
