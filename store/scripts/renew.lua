-- Renews a live lease, and no other: what has expired is taken again by
-- hold.lua, which looks for conflicts.
--
-- ARGV: link, instance, lease (ms), keep after that (ms).
-- Returns {'ok', the targets and the bytes of the agent's lists}; {'missing'} if the
-- record has no such live lease, or is none; {'gone'} if there is nothing.

local links, foreign = readLinks()
for _, l in ipairs(links) do
  if l.link == ARGV[1] and l.instance == ARGV[2] and l.expiry > now then
    l.expiry, l.seen = now + tonumber(ARGV[3]), now
    writeLinks(links)
    keepFor(tonumber(ARGV[3]) + tonumber(ARGV[4]))
    local targets, bytes = taken(links)
    return {'ok', number(targets), number(bytes)}
  end
end
return {(foreign or #links > 0) and 'missing' or 'gone'}
