-- Counts what a tenant's agents take: KEYS[1] is a hash with a field for each
-- listed agent, "targets bytes", and their totals under "*", "agents targets
-- bytes". What is no such hash there goes, and totals that cannot be read are
-- counted anew.
--
-- ARGV: how long it is kept (ms), the most agents, targets and bytes (0: what
-- comes is counted whatever it is), then in threes an agent, its targets and
-- their bytes; '-' for targets says that it is not listed any longer. Nobody who
-- takes no more than before is refused.
-- Returns for each '', or what there would be too many of and how many.

local total = redis.pcall('HGET', KEYS[1], '*')
local bad, foreign = failed(total)
if bad and not foreign then return total end
if foreign then
  redis.call('DEL', KEYS[1])
  total = nil
end
local agents, targets, bytes = string.match(total or '', '^(%d+) (%d+) (%d+)$')
if not agents then
  agents, targets, bytes = 0, 0, 0
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local t, b = string.match(all[i + 1], '^(%d+) (%d+)$')
    if t then agents, targets, bytes = agents + 1, targets + t, bytes + b end
  end
end
agents, targets, bytes = tonumber(agents), tonumber(targets), tonumber(bytes)
local mostAgents, mostTargets, mostBytes = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local function over(before, after, most) return most > 0 and after > before and after > most end

local verdicts = {}
for i = 5, #ARGV, 3 do
  local entry = redis.call('HGET', KEYS[1], ARGV[i]) or ''
  local hadTargets, hadBytes = string.match(entry, '^(%d+) (%d+)$')
  local had = hadTargets and 1 or 0
  local has = ARGV[i + 1] ~= '-' and 1 or 0
  local a = agents - had + has
  local t = targets - (hadTargets or 0) + (has == 1 and ARGV[i + 1] or 0)
  local b = bytes - (hadBytes or 0) + (has == 1 and ARGV[i + 2] or 0)
  local verdict = ''
  if over(agents, a, mostAgents) then verdict = string.format('agents %.0f', a)
  elseif over(targets, t, mostTargets) then verdict = string.format('targets %.0f', t)
  elseif over(bytes, b, mostBytes) then verdict = string.format('bytes %.0f', b)
  else
    agents, targets, bytes = a, t, b
    local entered = ARGV[i + 1] .. ' ' .. ARGV[i + 2]
    if has == 0 then redis.call('HDEL', KEYS[1], ARGV[i])
    elseif entered ~= entry then redis.call('HSET', KEYS[1], ARGV[i], entered) end
  end
  verdicts[#verdicts + 1] = verdict
end
local totals = string.format('%.0f %.0f %.0f', math.max(agents, 0), math.max(targets, 0), math.max(bytes, 0))
if totals ~= total then redis.call('HSET', KEYS[1], '*', totals) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return verdicts
