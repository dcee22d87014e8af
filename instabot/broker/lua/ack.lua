-- Acknowledge entries that need nothing further.
-- KEYS stream depth lease   ARGV token group letter, then per room: room tenant n id…   → acknowledged now
-- The letter of the group `log` is 'l': it counts entries only in total.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local depth, letter, total, tenants, i = KEYS[2], ARGV[3], 0, {}, 4
-- Never below nothing: somebody else's XADD was counted by nobody.
local function less(field, n)
  if redis.call('HINCRBY', depth, field, -n) <= 0 then redis.call('HDEL', depth, field) end
end
while i <= #ARGV do
  local room, tenant, n = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local acked = redis.call('XACK', KEYS[1], ARGV[2], unpack(ARGV, i + 3, i + 2 + n))
  i = i + 3 + n
  if acked > 0 and letter ~= 'l' then
    less(letter .. ':' .. room, acked)
    tenants[tenant] = (tenants[tenant] or 0) + acked
  end
  total = total + acked
end
if total > 0 then
  less(letter, total)
  for tenant, n in pairs(tenants) do less(letter .. '@' .. tenant, n) end
end
return total
