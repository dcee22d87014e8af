-- Pass the heads of the work list on to their shards, each payload exactly once.
-- KEYS work lease, then per item: control depth dead
-- ARGV token shard_cap tenant_cap room_cap, then per item: payload id room tenant data why
-- `why` is set for what becomes a dead letter, and so does what finds its queue full.   → how many went
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local done = 0
local function waits(depth, field) return tonumber(redis.call('HGET', depth, field) or '0') end
local function full(depth, room, tenant)
  if waits(depth, 'c:' .. room) >= tonumber(ARGV[4]) then return 'the control queue of this room is full' end
  if waits(depth, 'c@' .. tenant) >= tonumber(ARGV[3]) then return 'the control queue of this tenant is full' end
  if waits(depth, 'c') >= tonumber(ARGV[2]) then return 'the control queue of this shard is full' end
  return ''
end
for i = 5, #ARGV, 6 do
  -- Another bridge, or this call's first try, has dealt with it.
  if redis.call('LINDEX', KEYS[1], 0) ~= ARGV[i] then break end
  local control, depth, dead = KEYS[3 + done * 3], KEYS[4 + done * 3], KEYS[5 + done * 3]
  local id, room, tenant, data, why = ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  if why == '' then why = full(depth, room, tenant) end
  if why ~= '' then
    redis.call('XADD', dead, 'MAXLEN', '~', '10000', '*', 'q', 'control', 'i', id, 'r', room, 't', tenant,
      'w', why, 'd', data)
  else
    if redis.call('EXISTS', control) == 0 then
      redis.call('XGROUP', 'CREATE', control, 'runtime', '0', 'MKSTREAM')
    end
    redis.call('XADD', control, '*', 'r', room, 't', tenant, 'd', data)
    redis.call('HINCRBY', depth, 'c', 1)
    redis.call('HINCRBY', depth, 'c:' .. room, 1)
    redis.call('HINCRBY', depth, 'c@' .. tenant, 1)
  end
  redis.call('LPOP', KEYS[1])
  done = done + 1
end
return done
