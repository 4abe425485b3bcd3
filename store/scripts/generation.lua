-- The generation of what this Redis holds, KEYS[1]: drawn anew if it is missing,
-- which is to say that Redis has been emptied. ARGV: a generation to use then.
-- Returns {generation, its age in ms}.

local value = redis.pcall('GET', KEYS[1])
local bad, foreign = failed(value)
if bad and not foreign then return value end
if foreign then value = nil end -- what is no generation is replaced by one
local generation, born = string.match(value or '', '^(%S+) (%d+)$')
if not generation then
  generation, born = ARGV[1], now
  redis.call('SET', KEYS[1], generation .. ' ' .. number(now))
end
return {generation, number(math.max(now - tonumber(born), 0))}
