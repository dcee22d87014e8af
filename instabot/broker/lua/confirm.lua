-- Acknowledge control entries that were said, put the bot's own lines on `messages` for the log,
-- and tell whoever asked.
-- KEYS control messages depth groups lease
-- ARGV token, then per entry: id room tenant own ('' or data) answer ('' or data) channel   → acknowledged now
if redis.call('GET', KEYS[5]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local depth, done, own, rooms, tenants, owns, owners = KEYS[3], 0, 0, {}, {}, {}, {}
-- Never below nothing: somebody else's XADD was counted by nobody.
local function less(field, n)
  if redis.call('HINCRBY', depth, field, -n) <= 0 then redis.call('HDEL', depth, field) end
end
local logged = redis.call('SISMEMBER', KEYS[4], 'log') == 1 and redis.call('EXISTS', KEYS[2]) == 1
for i = 2, #ARGV, 6 do
  local room, tenant = ARGV[i + 1], ARGV[i + 2]
  if redis.call('XACK', KEYS[1], 'runtime', ARGV[i]) == 1 then
    done = done + 1
    rooms[room] = (rooms[room] or 0) + 1
    tenants[tenant] = (tenants[tenant] or 0) + 1
    if logged and ARGV[i + 3] ~= '' then
      redis.call('XADD', KEYS[2], '*', 'r', room, 't', tenant, 'd', ARGV[i + 3])
      owns[room] = (owns[room] or 0) + 1
      owners[tenant] = (owners[tenant] or 0) + 1
      own = own + 1
    end
    if ARGV[i + 4] ~= '' then redis.call('PUBLISH', ARGV[i + 5], ARGV[i + 4]) end
  end
end
if done > 0 then
  less('c', done)
  for room, n in pairs(rooms) do less('c:' .. room, n) end
  for tenant, n in pairs(tenants) do less('c@' .. tenant, n) end
end
if own > 0 then
  redis.call('HINCRBY', depth, 'm', own)
  redis.call('HINCRBY', depth, 'l', own)
  for room, n in pairs(owns) do redis.call('HINCRBY', depth, 'm:' .. room, n) end
  for tenant, n in pairs(owners) do redis.call('HINCRBY', depth, 'm@' .. tenant, n) end
end
return done
