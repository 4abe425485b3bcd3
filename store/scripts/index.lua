-- Adds agents to their tenant's index, KEYS[1], whose scores say when that was
-- last done. What is no index there goes.
-- ARGV: how long the index is kept (ms), then the names.
-- Returns 1, or 0 if what there was has gone.

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local whole = 1
local found = redis.pcall('ZSCORE', KEYS[1], '')
if type(found) == 'table' and found.err then
  if not string.find(found.err, 'WRONGTYPE', 1, true) then return found end
  redis.call('DEL', KEYS[1])
  whole = 0
end
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], now, ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return whole
