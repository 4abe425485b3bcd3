-- Goes before each script that reads or changes an agent's record, KEYS[1].
--
-- The field "links" has a line for each link:
--
--     link epoch expiry seen shared instance replica
--
-- with times in milliseconds of Redis's clock. The expiry is the ID of a lease of its
-- replica's, a number that no time is: the link is live until that ends, which the
-- caller knows. A replica of an earlier version writes a time.
-- "d:" and the link's ID name the rest of its entry. "yielding" names the links
-- whose token is for a pattern, a space after each, and "lists" has a line for
-- each link, "link hash targets bytes", on its list of targets; "displaced" has one for
-- each link that was displaced a short time ago, "since replica link". "seen" and "close" say when
-- and why the last live link was released. A list's hash is that of a list which stands
-- under it, or begins with "=" where the list stands in the link's own entry.

local wasYielding, wasLists = '', '' -- the fields, as readLinks found them

-- readLinks returns the record's links, and whether there is something under the
-- key that is no record. It goes if the script is about to write one. The leases
-- that have ended are the caller's word, with a space before and after each.
local function readLinks(ended, toWrite)
  local links = {}
  local field = redis.pcall('HGET', KEYS[1], 'yielding')
  local bad, foreign = failed(field)
  if bad then
    if not foreign then
      redis.call('HGET', KEYS[1], 'yielding') -- fails once more, for the caller
    end
    if toWrite then redis.call('DEL', KEYS[1]) end
    return links, true
  end
  wasYielding = field or ''
  wasLists = redis.call('HGET', KEYS[1], 'lists') or ''
  local lists = {}
  for link, hash, targets, bytes in string.gmatch(wasLists, '(%S+) (%S+) (%d+) (%d+)\n') do
    lists[link] = {hash = hash, targets = tonumber(targets), bytes = tonumber(bytes)}
  end
  for line in string.gmatch(redis.call('HGET', KEYS[1], 'links') or '', '[^\n]+') do
    local link, epoch, expiry, seen, shared, instance, replica =
      string.match(line, '^(%S+) (%d+) (%d+) (%d+) ([01]) (%S+) (%S+)$')
    if link and string.find(ended, ' ' .. expiry .. ' ', 1, true) then expiry = seen end
    if link and tonumber(epoch) < 2^53 then
      links[#links + 1] = {link = link, epoch = tonumber(epoch), expiry = tonumber(expiry),
        seen = tonumber(seen), shared = shared == '1', instance = instance, replica = replica,
        list = lists[link], yielding = string.find(wasYielding, link .. ' ', 1, true) ~= nil}
    end
  end
  return links
end

local function younger(a, b)
  if a.epoch ~= b.epoch then return a.epoch > b.epoch end
  return a.instance > b.instance
end

-- taken is how many targets, and bytes, the lists of live links have: the same list
-- of several is one.
local function taken(links)
  local seen, targets, bytes = {}, 0, 0
  for _, l in ipairs(links) do
    local hash = l.list and string.gsub(l.list.hash, '^=', '')
    if hash and l.expiry > now and not seen[hash] then
      seen[hash] = true
      targets, bytes = targets + l.list.targets, bytes + l.list.bytes
    end
  end
  return targets, bytes
end

-- blocking adds the leases that the links stand on to a verdict: who knows that one
-- has ended asks again.
local function blocking(verdict, links)
  for _, l in ipairs(links) do verdict[#verdict + 1] = number(l.expiry) end
  return verdict
end

-- writeLinks keeps the live links, and of the others only the newest of all, so
-- that a departed agent is still described and its epoch still known.
local function writeLinks(links)
  local newest
  for _, l in ipairs(links) do
    if not newest or younger(l, newest) or not younger(newest, l) and l.expiry > newest.expiry then
      newest = l
    end
  end
  local lines, yielding, lists = {}, '', ''
  for _, l in ipairs(links) do
    if l.expiry > now or l == newest then
      lines[#lines + 1] = table.concat({l.link, number(l.epoch), number(l.expiry), number(l.seen),
        l.shared and '1' or '0', l.instance, l.replica}, ' ')
      if l.yielding then yielding = yielding .. l.link .. ' ' end
      if l.list then
        lists = lists .. table.concat({l.link, l.list.hash, number(l.list.targets), number(l.list.bytes)}, ' ') .. '\n'
      end
    else
      redis.call('HDEL', KEYS[1], 'd:' .. l.link)
    end
  end
  redis.call('HSET', KEYS[1], 'links', table.concat(lines, '\n'))
  if yielding ~= wasYielding then redis.call('HSET', KEYS[1], 'yielding', yielding) end
  if lists ~= wasLists then redis.call('HSET', KEYS[1], 'lists', lists) end
end

-- dropped are the lists, by their hashes with a space after each, that the record does
-- not name any more: of those that it named when it was read, and of others, which somebody
-- has named for it.
local function dropped(others)
  local named, gone = {}, ''
  local function drop(hash)
    if not named[hash] and string.sub(hash, 1, 1) ~= '=' then
      named[hash], gone = true, gone .. hash .. ' '
    end
  end
  for _, hash in string.gmatch(redis.call('HGET', KEYS[1], 'lists') or '', '(%S+) (%S+) %d+ %d+\n') do
    named[hash] = true
  end
  for _, hash in string.gmatch(wasLists, '(%S+) (%S+) %d+ %d+\n') do drop(hash) end
  for hash in string.gmatch(others or '', '%S+') do drop(hash) end
  return gone
end

-- keepFor lets the record go in so many milliseconds.
local function keepFor(ms)
  if ms > 0 then redis.call('PEXPIRE', KEYS[1], number(ms)) else redis.call('DEL', KEYS[1]) end
end
