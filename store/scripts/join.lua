-- Counts who joins by a token. KEYS[1] is since when these keys are there (ms): with
-- Redis emptied it is drawn anew, and no token that is older counts any more, for nobody
-- knows how often it was redeemed. KEYS[2] is a hash with a field for each name of the
-- tenant's that somebody has joined by: who, and when the token was made by which it was
-- (s). KEYS[3] is a hash with a field for each who has joined by this token: the name,
-- and their count under "count". KEYS[4] has for each token that was redeemed when KEYS[3]
-- of it may be forgotten (ms): where it is gone before, Redis has evicted it.
--
-- ARGV: when the token was made (ms) and when its uses may be forgotten (ms), how many
-- may join by it, the name, who joins, 'free' if nobody else is known by the name, and
-- who it was that now makes room, or '', and the token's ID.
-- Returns {'joined'}, {'again'} if that was counted before, or why it does not count:
-- {'early', by how much (ms)}, {'old'}, {'renamed'}, {'joined by', who, when (s)},
-- {'in use'}, {'used up'}.

local minted, forget, uses = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local name, joiner, free, instead = ARGV[4], ARGV[5], ARGV[6], ARGV[7]

local born = tonumber(redis.call('GET', KEYS[1]) or '')
if not born then
  born = now
  redis.call('SET', KEYS[1], number(born))
end
if minted > now then return {'early', number(minted - now)} end
if minted < born then return {'old'} end

local token = ARGV[8]
local redeemed = redis.call('HGET', KEYS[4], token)
local count = tonumber(redis.call('HGET', KEYS[3], 'count') or 0)
if redeemed and count == 0 then return {'old'} end
local counted = redis.call('HGET', KEYS[3], joiner)
if counted and counted ~= name then return {'renamed'} end
local holder, first = string.match(redis.call('HGET', KEYS[2], name) or '', '^(%S+) (%d+)$')
if holder and holder ~= joiner and holder ~= instead then return {'joined by', holder, first} end
if not holder and not counted and free ~= 'free' then return {'in use'} end
if not counted and count >= uses then return {'used up'} end

local since = math.floor(minted / 1000)
if holder == joiner then since = math.max(since, tonumber(first)) end -- it may be by a later token
redis.call('HSET', KEYS[2], name, joiner .. ' ' .. number(since))
if not counted then redis.call('HSET', KEYS[3], joiner, name, 'count', number(count + 1)) end
if not redeemed then
  local ends = redis.call('HGETALL', KEYS[4])
  for i = 1, #ends, 2 do
    if tonumber(ends[i + 1]) < now then redis.call('HDEL', KEYS[4], ends[i]) end
  end
  redis.call('HSET', KEYS[4], token, number(forget))
end
redis.call('PEXPIRE', KEYS[3], number(math.max(forget - now, 1)))
return {counted and 'again' or 'joined'}
