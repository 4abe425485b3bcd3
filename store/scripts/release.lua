-- Ends a link. Another one, or one of another instance, is not touched.
--
-- ARGV: link, instance, cause, keep after that (ms), delist (1: if this was the
-- last link, the agent goes with it), the leases that have ended, the lists that were
-- named for the link.
-- Returns the lists that the record does not name any more.

local links = readLinks(ARGV[6])
local found, live = nil, 0
for _, l in ipairs(links) do
  if l.link == ARGV[1] and l.instance == ARGV[2] then
    found = l
  elseif l.expiry > now then
    live = live + 1
  end
end
if not found then
  return dropped(ARGV[7])
end
found.expiry, found.seen = now, now
if live == 0 and ARGV[5] == '1' then
  redis.call('DEL', KEYS[1])
  return dropped(ARGV[7])
end
writeLinks(links)
if live == 0 then
  redis.call('HSET', KEYS[1], 'seen', number(now), 'close', ARGV[3])
  keepFor(tonumber(ARGV[4]))
end
return dropped(ARGV[7])
