-- Returns {the clock in ms, the record}; the record is empty if there is none.

return {number(now), redis.call('HGETALL', KEYS[1])}
