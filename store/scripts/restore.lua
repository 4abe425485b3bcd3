-- Writes back a departed agent that an emptied Redis has lost, unless there is
-- a record: whatever is there is newer.
--
-- ARGV: link, epoch, seen (ms), shared, yielding, instance, replica, close
-- cause, keep since it was seen (ms), the entry in JSON.
-- Returns 1 if it was written.

readLinks('', true)
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
local seen = math.min(tonumber(ARGV[3]), now)
local left = seen + tonumber(ARGV[9]) - now
if left <= 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'd:' .. ARGV[1], ARGV[10], 'seen', number(seen), 'close', ARGV[8])
writeLinks({{link = ARGV[1], epoch = tonumber(ARGV[2]), expiry = seen, seen = seen,
  shared = ARGV[4] == '1', yielding = ARGV[5] == '1', instance = ARGV[6], replica = ARGV[7]}})
keepFor(left)
return 1
