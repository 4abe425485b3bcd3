-- Enters the agents that name a target list, KEYS[1], and keeps it: a hash with "list", the
-- list in JSON Lines, its length in "bytes", and for each agent "@" and its name, which
-- "names" counts. A list that was made of another has "made", how: the other's hash and a
-- patch, JSON, an array of lines taken from the other, [from, to] by their offsets, and of
-- lines as they are. Before that line stands how the other was made, as far back as goes
-- into so much.
--
-- KEYS: the list; what it is made of, if anything.
-- ARGV: how long it is kept (ms), its length (bytes), itself if it is whole, the hash of what it
-- is made of, the patch, the agents.
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
    local base = redis.pcall('HGET', KEYS[2], 'list')
    if type(base) == 'string' then
      local pieces = cjson.decode(ARGV[5])
      for i, piece in ipairs(pieces) do
        if type(piece) == 'table' then pieces[i] = string.sub(base, piece[1] + 1, piece[2]) end
      end
      text = table.concat(pieces)
      how = made(redis.call('HGET', KEYS[2], 'made') or '', ARGV[4], ARGV[5])
    end
  end
  if #text ~= tonumber(ARGV[2]) then return 0 end
  redis.call('HSET', KEYS[1], 'list', text, 'bytes', ARGV[2])
  if how ~= '' then redis.call('HSET', KEYS[1], 'made', how) end
end

local new = 0
for i = 6, #ARGV do new = new + redis.call('HSET', KEYS[1], '@' .. ARGV[i], '') end
if new > 0 then redis.call('HSET', KEYS[1], 'names', number((tonumber(redis.call('HGET', KEYS[1], 'names')) or 0) + new)) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
