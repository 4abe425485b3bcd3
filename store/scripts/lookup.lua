-- Returns {the clock in ms, the record}; the record is empty if there is none,
-- and a text if something else is under its key.

local record = redis.pcall('HGETALL', KEYS[1])
if record.err then
  if not string.find(record.err, 'WRONGTYPE', 1, true) then return record end
  record = record.err
end
return {number(now), record}
