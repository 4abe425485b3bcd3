-- Notes since when an agent has claimed the proxy-mode addresses that an entry of
-- it declares, and its name: the field "claims" has a line for each,
--
--     since address
--
-- by Redis's clock in ms, with an empty address for the name. What was claimed
-- before stays as old as it was; what no instance declares any longer goes.
--
-- ARGV: link, instance, the leases that have ended, then in pairs an address and for how long the replica has
-- known of it (ms). Returns {the clock, the field}.

local mine, others = false, false
for _, l in ipairs(readLinks(ARGV[3])) do
  if l.link == ARGV[1] and l.instance == ARGV[2] then
    mine = true
  elseif l.expiry > now and l.instance ~= ARGV[2] then
    others = true
  end
end
local before = redis.call('HGET', KEYS[1], 'claims') or ''
if not mine then
  return {number(now), before}
end
local since = {}
for at, address in string.gmatch(before, '(%d+) ([^\n]*)') do
  since[address] = tonumber(at)
end
local lines = {}
for i = 4, #ARGV, 2 do
  local at = math.min(since[ARGV[i]] or now, now - tonumber(ARGV[i + 1]))
  lines[#lines + 1] = number(at) .. ' ' .. ARGV[i]
  since[ARGV[i]] = nil
end
if others then -- which of them declares what is not known here
  for address, at in pairs(since) do
    if #lines >= 20000 then break end
    lines[#lines + 1] = number(at) .. ' ' .. address
  end
end
local claims = table.concat(lines, '\n')
if claims ~= before then redis.call('HSET', KEYS[1], 'claims', claims) end
return {number(now), claims}
