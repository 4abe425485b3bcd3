-- Begins KEYS[1]: since when it is counted who joins (ms). Returns 1.

redis.call('SET', KEYS[1], number(now), 'NX')
return 1
