-- Enters a link, or enters it again: the rules of conflict.
--
-- Two instances of one name conflict unless both are shared, and both or neither
-- yield. One whose token is for this name goes before one that yields, whatever
-- their epochs. Of two that do not yield the younger wins: the one with the
-- higher epoch. One that yields displaces nobody, but for a later one that came
-- while the directory had lost it.
--
-- An instance not seen before is the youngest. An epoch that it claims counts
-- only against it: it may make the instance older where the younger wins, and
-- gives no place before others. An epoch that the directory has told, which the
-- replica says and not the agent, stays.
--
-- An agent's links may have lists of their own: all together they take so much at
-- the most.
--
-- ARGV: link, instance, epoch, whether the directory has told it (0: claimed),
-- replica, shared, yielding, its replica's lease, keep without another word (ms), the
-- entry in JSON ('' if it is there, and the same), of its list a hash, the targets and
-- the bytes, the most that the agent's lists may take (bytes; 0: anything), the leases
-- that have ended, the lists that were named for the link.
-- Who was displaced is told again for a minute: the answer may be lost.
-- Returns a verdict, the lists that the record does not name, or not any more, and what
-- the verdict takes: 'ok', the epoch, the targets and the bytes of the agent's lists, each
-- displaced link's replica and the link; 'missing' if the entry is not there; 'over' and the
-- bytes, 'superseded' or 'taken', and the leases of the links that were in its way.

if ARGV[10] == '' and redis.pcall('HEXISTS', KEYS[1], 'd:' .. ARGV[1]) ~= 1 then return {'missing', ''} end
local me = {link = ARGV[1], instance = ARGV[2], epoch = tonumber(ARGV[3]), replica = ARGV[5],
  shared = ARGV[6] == '1', yielding = ARGV[7] == '1', expiry = tonumber(ARGV[8]), seen = now,
  list = {hash = ARGV[11], targets = tonumber(ARGV[12]), bytes = tonumber(ARGV[13])}}
local told = ARGV[4] == '1'
local links = readLinks(ARGV[15], true)

-- One that was not shared and now is may be older than any: it is not the same.
local function same(l) return l.instance == me.instance and l.shared == me.shared end

local highest, known = 0, false
for _, l in ipairs(links) do
  highest = math.max(highest, l.epoch)
  if same(l) then
    me.epoch, known = l.epoch, true
  end
end
-- Not below the clock, so that an emptied Redis gives no lower one than before.
local fresh = math.max(highest + 1, now)
local claimed = not known and not told
if claimed and (me.epoch == 0 or me.epoch > fresh) then
  me.epoch = fresh
end

local function displaces(l)
  if me.yielding ~= l.yielding then return l.yielding end
  if me.yielding then return told and younger(l, me) end
  return younger(me, l)
end

local kept, displaced, past, before, verdict = {me}, {}, {}, {}, nil
for _, l in ipairs(links) do
  local live = l.expiry > now
  local shared = l.shared and me.shared
  if live and not same(l) and not (shared and l.yielding == me.yielding) then
    if displaces(l) then
      displaced[#displaced + 1] = l
    else
      before[#before + 1] = l
      if younger(l, me) and not shared then verdict = 'superseded' end
      verdict = verdict or 'taken'
    end
  elseif not live and l.yielding and not me.yielding then
    past[#past + 1] = l -- it shall not describe the agent when this one has gone
  elseif l.link ~= me.link then
    kept[#kept + 1] = l
  end
end
if verdict then
  return blocking({verdict, dropped(ARGV[16])}, before)
end
local targets, bytes = taken(kept)
local most = tonumber(ARGV[14])
if most > 0 and bytes > most then
  return blocking({'over', dropped(ARGV[16]), number(bytes)}, kept)
end
if claimed and (me.shared or me.yielding) then
  me.epoch = fresh
end

local reply = {'ok', '', number(me.epoch), number(targets), number(bytes)}
for _, l in ipairs(past) do redis.call('HDEL', KEYS[1], 'd:' .. l.link) end
local told, tell = redis.call('HGET', KEYS[1], 'displaced') or '', {}
for at, replica, link in string.gmatch(told, '(%d+) (%S+) (%S+)\n') do
  if tonumber(at) > now - 60000 and link ~= me.link then tell[#tell + 1] = {at, replica, link} end
end
for _, l in ipairs(displaced) do
  redis.call('HDEL', KEYS[1], 'd:' .. l.link)
  tell[#tell + 1] = {number(now), l.replica, l.link}
end
local telling = ''
for i = math.max(#tell - 63, 1), #tell do -- the last of them, if they are many
  telling = telling .. table.concat(tell[i], ' ') .. '\n'
  reply[#reply + 1] = tell[i][2]
  reply[#reply + 1] = tell[i][3]
end
if telling == '' then redis.call('HDEL', KEYS[1], 'displaced')
elseif telling ~= told then redis.call('HSET', KEYS[1], 'displaced', telling) end
if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'd:' .. me.link, ARGV[10]) end
redis.call('HDEL', KEYS[1], 'seen', 'close')
writeLinks(kept)
keepFor(tonumber(ARGV[9]))
reply[2] = dropped(ARGV[16])
return reply
