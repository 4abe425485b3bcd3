-- Renews a replica among the living, KEYS[1], and drops the dead. Each is a field
-- with its expiry and how many links it holds. What is no hash there is not ours,
-- and goes.
-- ARGV: replica, lease (ms), links. Returns {their links, {each one's name}}.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local latest = now + tonumber(ARGV[2]) + 60000 -- no replica writes a later one
local entry = string.format('%.0f %s', now + tonumber(ARGV[2]), ARGV[3])
local set = redis.pcall('HSET', KEYS[1], ARGV[1], entry)
if type(set) == 'table' and set.err then
  if not string.find(set.err, 'WRONGTYPE', 1, true) then
    return set
  end
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], ARGV[1], entry)
end
local links, names = 0, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local expiry, held = string.match(all[i + 1], '^(%d+) (%d+)$')
  if expiry and tonumber(expiry) >= now and tonumber(expiry) <= latest then
    links = links + tonumber(held)
    names[#names + 1] = all[i]
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {links, names}
