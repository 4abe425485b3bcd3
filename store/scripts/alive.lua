-- Renews a replica among the living, KEYS[1], and drops the dead. Each is a field
-- with its expiry and how many links it holds.
-- ARGV: replica, lease (ms), links. Returns {living replicas, their links}.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s', now + tonumber(ARGV[2]), ARGV[3]))
local alive, links = 0, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local expiry, held = string.match(all[i + 1], '^(%d+) (%d+)$')
  if expiry and tonumber(expiry) >= now then
    alive, links = alive + 1, links + tonumber(held)
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {alive, links}
