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
local most = 20000 -- lines, before what is no longer claimed here goes even if others may claim it
local whole, said = ARGV[4] == '1', {}
for i = 5, #ARGV, 2 do said[ARGV[i]] = ARGV[i + 1] end

local lines, new = {}, {}
local function enter(address, since)
  local line = number(math.min(since or now, now - tonumber(said[address]))) .. ' ' .. address
  said[address], lines[#lines + 1], new[#new + 1] = nil, line, line
end
for line, at, address in string.gmatch(before, '((%d+) ([^\n]*))') do
  local age = said[address]
  if age and age ~= '-' then
    enter(address, tonumber(at))
  elseif others and #lines < most or not whole and not age then
    lines[#lines + 1] = line
  end
end
for i = 5, #ARGV, 2 do
  if said[ARGV[i]] and said[ARGV[i]] ~= '-' then enter(ARGV[i]) end
end
local claims = table.concat(lines, '\n')
if claims ~= before then redis.call('HSET', KEYS[1], 'claims', claims) end
return {number(now), whole and claims or table.concat(new, '\n')}
