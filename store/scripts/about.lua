-- Renews a replica's lease, on which all of its links stand, and tells what it can
-- do. Its record has the lease's ID.
--
-- A lease that has ended is lost as soon as another replica says so, and no sooner:
-- while Redis answers nobody, none can be renewed. So who was cut off itself, or has
-- only just come, spares the others for a while.
--
-- ARGV: replica, lease (ms), record, the lease's ID, whether Redis has it (1) or is
-- to take it (0), for how long it has been renewed without a break (ms), how long
-- others are spared (ms).
-- Returns {'lost'}, or 'kept', or 'taken' if it begins now, and then {name, record, ...}.

local before = redis.pcall('HGET', KEYS[1], ARGV[1])
local bad, foreign = failed(before)
if bad and not foreign then return before end
if foreign then before = nil end
local expiry = tonumber(string.match(before or '', '^(%d+) '))
local same = expiry and string.find(before, '"lease":' .. ARGV[4], 1, true)
if ARGV[5] == '1' and not same then return {'lost'} end

local kept = same and expiry >= now
local since = now - (kept and tonumber(ARGV[6]) or 0)
local function spares(ended) return ended < since and now - since <= tonumber(ARGV[7]) end

local reply = {kept and 'kept' or 'taken'}
local err = renewed(ARGV[1], tonumber(ARGV[2]), ARGV[3], '(.*)', spares, function(name, record)
  reply[#reply + 1] = name
  reply[#reply + 1] = record
end)
return err or reply
