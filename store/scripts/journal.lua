-- Appends events to a tenant's journal, the stream KEYS[1], and drops what is too old
-- or too many there. What is no stream there goes.
-- ARGV: how long an event is kept (ms), how many are, then the events.
-- Returns 1.

local trimmed = redis.pcall('XTRIM', KEYS[1], 'MINID', '~', number(math.max(now - ARGV[1], 0)))
local bad, foreign = failed(trimmed)
if bad and not foreign then return trimmed end
if foreign then redis.call('DEL', KEYS[1]) end
for i = 3, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'event', ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
