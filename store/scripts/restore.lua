-- Writes back a departed agent that an emptied Redis has lost, unless there is
-- a record: whatever is there is newer.
--
-- ARGV: link, epoch, seen (ms), shared, instance, replica, close cause, keep
-- since it was seen (ms), the lease in JSON.
-- Returns 1 if it was written.

if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
local seen = math.min(tonumber(ARGV[3]), now)
local left = seen + tonumber(ARGV[8]) - now
if left <= 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'd:' .. ARGV[1], ARGV[9], 'seen', number(seen), 'close', ARGV[7])
writeLinks({{link = ARGV[1], epoch = tonumber(ARGV[2]), expiry = seen, seen = seen,
  shared = ARGV[4] == '1', instance = ARGV[5], replica = ARGV[6]}})
keepFor(left)
return 1
