-- Joins revocations into the hash that has all of them, KEYS[1]. A field of it is a
-- subject and has three times: before when what was issued is dead (s), when that was
-- last made, and when it was last lifted (ms). Of two copies the later of each counts.
-- The field "stamp" is drawn anew with each change. "order:" and an ID stand for an
-- order until all replicas may have seen it, and have its time and its subject.
--
-- ARGV: a stamp to draw, an order's ID or '' if it is none, how many subjects there may
-- be, and how many patterns of them, for how long orders stay, and what was lifted (ms);
-- then of each subject its name and its three times. 'now' is later than all that is known of the subject;
-- of the first of them, in seconds, 'next' is the next whole second.
-- What is further ahead than anybody's clock may be is nobody's, and is written over.
-- Returns {the stamp as it is then, the times of each subject}. Of an order, it may be {'full'},
-- {'ahead'} if its time is further ahead than that, or {'none'} if it would lift what does not hold;
-- else what is too much is left out.

local ahead = 86400000 -- ms
local order, most, mostPatterns = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local orderStays, liftedStays = tonumber(ARGV[5]), tonumber(ARGV[6])
local first = 7 -- argument of the subjects

local function isPattern(subject)
  return string.find(subject, '^agent:') and string.find(subject, '[*?%[\\]')
end

local latest = now + ahead -- what anybody's clock may say

local function farAhead(subject, before) return before * 1000 > latest and not string.find(subject, '^token:') end

-- times reads those of a subject; nil, if they are none.
local function times(subject, value)
  local before, made, lifted = string.match(value, '^(%d+) (%d+) (%d+)$')
  if not before then return nil end
  local of = {text = value, before = tonumber(before), made = tonumber(made), lifted = tonumber(lifted)}
  if of.made > latest or of.lifted > latest or farAhead(subject, of.before) then return nil end
  return of
end

local hash = redis.pcall('HGETALL', KEYS[1])
local bad, foreign = failed(hash)
if bad and not foreign then return hash end
if foreign then
  redis.call('DEL', KEYS[1])
  hash = {}
end

local has, subjects, patterns, stamp = {}, 0, 0, ''
for i = 1, #hash, 2 do
  local field, value = hash[i], hash[i + 1]
  if field == 'stamp' then
    stamp = value
  elseif string.find(field, '^order:') then
    local at = tonumber(string.match(value, '^(%d+) '))
    if not at or math.abs(now - at) > orderStays then redis.call('HDEL', KEYS[1], field) end
  else
    local of = times(field, value)
    if of and of.made <= of.lifted and of.lifted < now - liftedStays then
      redis.call('HDEL', KEYS[1], field)
    elseif of then
      has[field] = of
      subjects = subjects + 1
      if isPattern(field) then patterns = patterns + 1 end
    end
  end
end

local reply, changed = {stamp}, order ~= ''
for i = first, #ARGV, 4 do
  local subject, before, was = ARGV[i], ARGV[i + 1], has[ARGV[i]]
  if before == 'next' then before = math.floor(now / 1000) + 1 end
  if order ~= '' and farAhead(subject, tonumber(before)) then return {'ahead'} end
  if ARGV[i + 3] == 'now' and not (was and was.made > was.lifted) then return {'none'} end
  local room = was or subjects < most and not (isPattern(subject) and patterns >= mostPatterns)
  if not room and order ~= '' then return {'full'} end
  if room then
    if not was then
      was = {before = 0, made = 0, lifted = 0}
      subjects = subjects + 1
      if isPattern(subject) then patterns = patterns + 1 end
    end
    local after = math.max(now, was.made + 1, was.lifted + 1)
    local function later(time, known)
      if time == 'now' then return after end
      return math.max(tonumber(time), known)
    end
    local text = number(later(before, was.before)) .. ' ' .. number(later(ARGV[i + 2], was.made)) .. ' ' .. number(later(ARGV[i + 3], was.lifted))
    if text ~= was.text then
      redis.call('HSET', KEYS[1], subject, text)
      changed = true
    end
    reply[#reply + 1] = text
  end
end
if order ~= '' then redis.call('HSET', KEYS[1], 'order:' .. order, number(now) .. ' ' .. ARGV[first]) end
if changed then
  reply[1] = ARGV[1]
  redis.call('HSET', KEYS[1], 'stamp', ARGV[1])
end
return reply
