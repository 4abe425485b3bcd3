-- Says what a living replica can do. It stands beside the list of the living, whose
-- entries older replicas would drop if more stood in them.
-- ARGV: replica, lease (ms), record. Returns {name, record, ...}.

local living = {}
local err = renewed(ARGV[1], tonumber(ARGV[2]), ARGV[3], '(.*)', function(name, record)
  living[#living + 1] = name
  living[#living + 1] = record
end)
return err or living
