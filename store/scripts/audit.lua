-- Looks whether a link stands in its agent's record as its replica wrote it, and
-- keeps the record.
--
-- ARGV: link, instance, its replica's lease, keep without another word (ms).
-- Returns {'ok', the targets and the bytes of the agent's lists}; {'missing'} if the
-- record has no such link, or is none; {'gone'} if there is nothing.

local links, foreign = readLinks('')
for _, l in ipairs(links) do
  if l.link == ARGV[1] and l.instance == ARGV[2] and l.expiry == tonumber(ARGV[3]) then
    keepFor(tonumber(ARGV[4]))
    local targets, bytes = taken(links)
    return {'ok', number(targets), number(bytes)}
  end
end
return {(foreign or #links > 0) and 'missing' or 'gone'}
