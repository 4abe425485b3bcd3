-- Takes a link's lease, or takes it again: the rules of conflict.
--
-- Two instances of one name conflict unless both are shared. The younger wins:
-- the one with the higher epoch. An instance not seen before is the youngest,
-- unless it yields.
--
-- ARGV: link, instance, epoch claimed, replica, shared, yielding, lease (ms),
-- keep after that (ms), how far ahead an epoch may be (ms), the lease in JSON.
-- Returns {'ok', epoch, displaced replica, its link, …}, {'superseded'} or
-- {'taken'}.

local me = {link = ARGV[1], instance = ARGV[2], epoch = tonumber(ARGV[3]), replica = ARGV[4],
  shared = ARGV[5] == '1', expiry = now + tonumber(ARGV[7]), seen = now}
local yielding = ARGV[6] == '1'
local links = readLinks()

local highest, known = 0, false
for _, l in ipairs(links) do
  highest = math.max(highest, l.epoch)
  if l.instance == me.instance then
    me.epoch, known = l.epoch, true
  end
end
if not known and (me.epoch == 0 or me.epoch > now + tonumber(ARGV[9])) then
  -- Not below the clock, so that an emptied Redis gives no lower one than before.
  me.epoch = math.max(highest + 1, now)
end

local kept, displaced, taken = {me}, {}, false
for _, l in ipairs(links) do
  local conflict = l.expiry > now and l.instance ~= me.instance and not (l.shared and me.shared)
  if conflict and younger(l, me) then
    return {'superseded'}
  elseif conflict then
    taken = yielding
    displaced[#displaced + 1] = l
  elseif l.link ~= me.link then
    kept[#kept + 1] = l
  end
end
if taken then
  return {'taken'}
end

local reply = {'ok', number(me.epoch)}
for _, l in ipairs(displaced) do
  redis.call('HDEL', KEYS[1], 'd:' .. l.link)
  reply[#reply + 1] = l.replica
  reply[#reply + 1] = l.link
end
redis.call('HSET', KEYS[1], 'd:' .. me.link, ARGV[10])
redis.call('HDEL', KEYS[1], 'seen', 'close')
writeLinks(kept)
keepFor(tonumber(ARGV[7]) + tonumber(ARGV[8]))
return reply
