-- Goes before each script: Redis's clock in milliseconds, by which all that ends is
-- judged, and what more than one of them needs.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function number(n) return string.format('%.0f', n) end

-- failed reports whether a pcall has failed, and whether because something of
-- another type is under its key, which is not ours.
local function failed(reply)
  if type(reply) ~= 'table' or not reply.err then return false, false end
  return true, string.find(reply.err, 'WRONGTYPE', 1, true) ~= nil
end
