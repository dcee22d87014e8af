-- Acknowledge messages and queue their replies: both or neither, and only once.
-- KEYS messages control depth dead groups lease
-- ARGV token room_cap, then per item: id room tenant replies answers,
--      then per reply: room tenant data, then per answer: channel data
-- A reply to a room whose control queue is full becomes a dead letter.   → acknowledged now
if redis.call('GET', KEYS[6]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local depth, cap, done, i = KEYS[3], tonumber(ARGV[2]), 0, 3
-- Never below nothing: somebody else's XADD was counted by nobody.
local function less(field, n)
  if redis.call('HINCRBY', depth, field, -n) <= 0 then redis.call('HDEL', depth, field) end
end
local acked, tenants, owners, more = {}, {}, {}, 0
local fresh = nil
while i <= #ARGV do
  local id, room, tenant = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local replies, answers = tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  i = i + 5
  local first = redis.call('XACK', KEYS[1], 'backend', id) == 1
  if first then
    done = done + 1
    acked[room] = (acked[room] or 0) + 1
    tenants[tenant] = (tenants[tenant] or 0) + 1
    for _ = 1, replies do
      local to, owner, data = ARGV[i], ARGV[i + 1], ARGV[i + 2]
      i = i + 3
      if redis.call('HINCRBY', depth, 'c:' .. to, 1) > cap then
        redis.call('HINCRBY', depth, 'c:' .. to, -1)
        redis.call('XADD', KEYS[4], 'MAXLEN', '~', '10000', '*', 'q', 'control', 'i', id, 'r', to,
          't', owner, 'w', 'the control queue of this room is full', 'd', data)
      else
        if fresh == nil then
          fresh = redis.call('EXISTS', KEYS[2]) == 0
          if fresh then redis.call('XGROUP', 'CREATE', KEYS[2], 'runtime', '0', 'MKSTREAM') end
        end
        redis.call('XADD', KEYS[2], '*', 'r', to, 't', owner, 'd', data)
        owners[owner] = (owners[owner] or 0) + 1
        more = more + 1
      end
    end
    for _ = 1, answers do
      redis.call('PUBLISH', ARGV[i], ARGV[i + 1])
      i = i + 2
    end
  else
    i = i + 3 * replies + 2 * answers
  end
end
if done > 0 then
  less('m', done)
  for room, n in pairs(acked) do less('m:' .. room, n) end
  for tenant, n in pairs(tenants) do less('m@' .. tenant, n) end
end
if more > 0 then
  redis.call('HINCRBY', depth, 'c', more)
  for owner, n in pairs(owners) do redis.call('HINCRBY', depth, 'c@' .. owner, n) end
end
return done
