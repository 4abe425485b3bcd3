-- The generation of what this Redis holds, KEYS[1]: drawn anew if it is missing,
-- which is to say that Redis has been emptied. ARGV: a generation to use then.
-- Returns {generation, its age in ms}.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'table' and value.err then
  if not string.find(value.err, 'WRONGTYPE', 1, true) then return value end
  value = nil -- what is no generation is replaced by one
end
local generation, born = string.match(value or '', '^(%S+) (%d+)$')
if not generation then
  generation, born = ARGV[1], now
  redis.call('SET', KEYS[1], generation .. ' ' .. string.format('%.0f', now))
end
return {generation, string.format('%.0f', math.max(now - tonumber(born), 0))}
