-- Notes of the links that stood on leases which have ended that they are no more,
-- and since when: else nobody would, for their replica has gone without a word.
--
-- ARGV: keep after that (ms), then in pairs a lease and how long ago it ended (ms).
-- Returns the lists that the record does not name any more.

local ended = {}
for i = 2, #ARGV, 2 do ended[ARGV[i]] = now - tonumber(ARGV[i + 1]) end
local links, found, live, last = readLinks(''), 0, false, 0
for _, l in ipairs(links) do
  local at = ended[number(l.expiry)]
  if at then
    l.seen = math.max(l.seen, at)
    l.expiry, found, last = l.seen, 1, math.max(last, l.seen)
  elseif l.expiry > now then
    live = true
  end
end
if found == 0 then
  return ''
end
writeLinks(links)
if not live then
  redis.call('HSET', KEYS[1], 'seen', number(last))
  keepFor(tonumber(ARGV[1]) - (now - last))
end
return dropped()
