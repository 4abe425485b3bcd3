-- Enters the agents that name a target list, KEYS[1], and keeps it: a hash with "list", the
-- list in JSON Lines, and its length in "bytes". KEYS[2] are the names of its agents, each
-- until it ends by itself. A list that was made of another has "made", how: the other's hash
-- and a patch, JSON, an array of lines taken from the other, [from, to] by their offsets, and
-- of lines as they are. Before that line stands how the other was made, as far back as goes
-- into so much.
--
-- KEYS: the list, its names, and what it is made of, if anything.
-- ARGV: how long it and the names are kept (ms), its length (bytes), itself if it is whole, the
-- hash of what it is made of, the patch, the agents.
-- Returns 1 if the list is there now, 0 if it is needed whole.

local most = {lines = 16, bytes = 16384} -- of "made"

-- made is how a list was made whose base was made so.
local function made(before, hash, patch)
  local lines = {}
  for line in string.gmatch(before .. hash .. ' ' .. patch .. '\n', '[^\n]+\n') do lines[#lines + 1] = line end
  local first, bytes = #lines + 1, 0
  while first > 1 and #lines - first + 2 <= most.lines and bytes + #lines[first - 1] <= most.bytes do
    first = first - 1
    bytes = bytes + #lines[first]
  end
  return table.concat(lines, '', first)
end

local bytes = redis.pcall('HGET', KEYS[1], 'bytes')
local bad, foreign = failed(bytes)
if bad and not foreign then return bytes end
if foreign then
  redis.call('DEL', KEYS[1])
  bytes = nil
end

if bytes ~= ARGV[2] then
  local text, how = ARGV[3], ''
  if text == '' and ARGV[5] ~= '' then
    local base = redis.pcall('HGET', KEYS[3], 'list')
    if type(base) == 'string' then
      local pieces = cjson.decode(ARGV[5])
      for i, piece in ipairs(pieces) do
        if type(piece) == 'table' then pieces[i] = string.sub(base, piece[1] + 1, piece[2]) end
      end
      text = table.concat(pieces)
      how = made(redis.call('HGET', KEYS[3], 'made') or '', ARGV[4], ARGV[5])
    end
  end
  if #text ~= tonumber(ARGV[2]) then return 0 end
  redis.call('HSET', KEYS[1], 'list', text, 'bytes', ARGV[2])
  if how ~= '' then redis.call('HSET', KEYS[1], 'made', how) end
end

local ended = redis.pcall('ZRANGE', KEYS[2], '-inf', number(now), 'BYSCORE', 'LIMIT', 0, 100)
if failed(ended) then
  redis.call('DEL', KEYS[2])
  ended = {}
end
for _, agent in ipairs(ended) do redis.call('ZREM', KEYS[2], agent) end
local till = number(now + ARGV[1])
for i = 6, #ARGV do redis.call('ZADD', KEYS[2], till, ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return 1
