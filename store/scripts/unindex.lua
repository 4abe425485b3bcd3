-- Takes agents without a record out of their tenant's index, KEYS[1], but for
-- those added so recently that their record may be on its way.
-- ARGV: how recently (ms), then the names. Returns those that it has taken out.

local before = now - tonumber(ARGV[1])
local out = {}
for i = 2, #ARGV do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) < before then
    redis.call('ZREM', KEYS[1], ARGV[i])
    out[#out + 1] = ARGV[i]
  end
end
return out
