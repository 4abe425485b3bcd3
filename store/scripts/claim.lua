-- Notes since when an agent has claimed the proxy-mode addresses that an entry of
-- it declares, and its name: the field "claims" has a line for each,
--
--     since address
--
-- by Redis's clock in ms, with an empty address for the name. What was claimed
-- before stays as old as it was; what no instance declares any longer goes.
--
-- ARGV: link, instance, the leases that have ended, whether all claims follow (1) or
-- what has changed of them (0), then in pairs an address and for how long the replica has
-- known of it (ms), '-' if it is not claimed any longer.
-- Returns {the clock, the field}, or of a change {the clock, the lines of what is new}.

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
local most = 20000 -- lines, while nobody knows which of them others declare

if ARGV[4] == '1' then
  local since = {}
  for at, address in string.gmatch(before, '(%d+) ([^\n]*)') do
    since[address] = tonumber(at)
  end
  local lines = {}
  for i = 5, #ARGV, 2 do
    local at = math.min(since[ARGV[i]] or now, now - tonumber(ARGV[i + 1]))
    lines[#lines + 1] = number(at) .. ' ' .. ARGV[i]
    since[ARGV[i]] = nil
  end
  if others then
    for address, at in pairs(since) do
      if #lines >= most then break end
      lines[#lines + 1] = number(at) .. ' ' .. address
    end
  end
  local claims = table.concat(lines, '\n')
  if claims ~= before then redis.call('HSET', KEYS[1], 'claims', claims) end
  return {number(now), claims}
end

-- A long field is not read line by line for one that has changed.
local claims, new = '\n' .. before .. (before == '' and '' or '\n'), {}
for i = 5, #ARGV, 2 do
  local since
  local at, last = string.find(claims, ' ' .. ARGV[i] .. '\n', 1, true)
  if at then
    local first = at
    while first > 1 and string.byte(claims, first - 1) ~= 10 do first = first - 1 end
    since = tonumber(string.sub(claims, first, at - 1))
    if ARGV[i + 1] ~= '-' or not others then
      claims = string.sub(claims, 1, first - 1) .. string.sub(claims, last + 1)
    end
  end
  if ARGV[i + 1] ~= '-' then
    new[#new + 1] = number(math.min(since or now, now - tonumber(ARGV[i + 1]))) .. ' ' .. ARGV[i]
  end
end
local added = table.concat(new, '\n')
if added ~= '' and not (others and #claims > most * 64) then claims = claims .. added .. '\n' end
claims = string.sub(claims, 2, -2)
if claims ~= before then redis.call('HSET', KEYS[1], 'claims', claims) end
return {number(now), added}
