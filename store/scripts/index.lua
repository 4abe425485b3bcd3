-- Adds agents to their tenant's index, KEYS[1], whose scores say when that was
-- last done. ARGV: how long the index is kept (ms), then the names.

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], now, ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
