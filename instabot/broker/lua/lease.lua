-- Take or renew a lease. A lower incarnation of the same id is replaced at once, another id waits.
-- KEYS lease resume rooms   ARGV id incarnation ttl_ms role beat_ms
-- → {1 renewed | 2 taken | 0 held by another | -1 superseded, holder before, its last beat in ms, generation}
local token = ARGV[1] .. ':' .. ARGV[2]
local holder = redis.call('GET', KEYS[1])
local state = 2
if holder == token then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  state = 1
else
  if holder then
    local id, incarnation = string.match(holder, '^(.*):(%d+)$')
    if id ~= ARGV[1] then return {0, holder, '', ''} end
    if tonumber(incarnation) > tonumber(ARGV[2]) then return {-1, holder, '', ''} end
  end
  -- DEL first: a script whose first write frees memory may also take a lease when memory is full,
  -- so that a restarted backend can drain it.
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[1], token, 'PX', ARGV[3])
end
local before = redis.call('HMGET', KEYS[2], 'owner:' .. ARGV[4], 'beat:' .. ARGV[4])
redis.call('HSET', KEYS[2], 'owner:' .. ARGV[4], token, 'beat:' .. ARGV[4], ARGV[5])
return {state, before[1] or '', before[2] or '', redis.call('HGET', KEYS[3], 'generation') or ''}
