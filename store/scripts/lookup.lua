-- Returns {the clock in ms, the record}; the record is empty if there is none,
-- and a text if something else is under its key.

local record = redis.pcall('HGETALL', KEYS[1])
local bad, foreign = failed(record)
if bad and not foreign then return record end
if foreign then record = record.err end
return {number(now), record}
