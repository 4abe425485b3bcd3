-- Renews a replica in the list of the living that those of earlier versions read,
-- with how many links it holds.
-- ARGV: replica, lease (ms), links. Returns {their links, {each one's name}}.

local links, names = 0, {}
local function nobody() return false end
local err = renewed(ARGV[1], tonumber(ARGV[2]), ARGV[3], '(%d+)', nobody, function(name, held)
  links = links + tonumber(held)
  names[#names + 1] = name
end)
return err or {links, names}
