-- Goes before the two scripts that renew a replica among the living. KEYS[1] is a
-- hash of them: each is a field with its expiry and what it says. What is no hash
-- there is not ours, and goes.

local outlives = 3600000 -- ms that the hash outlives its last renewal

-- renewed says something in the name of a replica for the time of a lease (ms),
-- drops the dead and whatever is not as replicas write it, by a pattern for what
-- they say, and calls back with the name of each of the living and what it says.
-- Of those whose lease has ended, who is spared lives: spares is called with its end.
-- It returns the error of a command, if one failed.
local function renewed(replica, lease, says, pattern, spares, living)
  local latest = now + lease + 60000 -- no replica writes a later one
  local entry = number(now + lease) .. ' ' .. says
  local set = redis.pcall('HSET', KEYS[1], replica, entry)
  local bad, foreign = failed(set)
  if bad and not foreign then return set end
  if foreign then
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], replica, entry)
  end
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local expiry, said = string.match(all[i + 1], '^(%d+) ' .. pattern .. '$')
    expiry = tonumber(expiry)
    if expiry and expiry <= latest and (expiry >= now or spares(expiry)) then
      living(all[i], said)
    else
      redis.call('HDEL', KEYS[1], all[i])
    end
  end
  redis.call('PEXPIRE', KEYS[1], outlives)
end
