-- Write desired state, fenced, under a rising generation.
-- KEYS networks rooms lease   ARGV token whole(1|0) generation ('' = the next), then per field: n|r field value ('' = delete)
-- `whole` replaces everything that was there.   → the generation
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local before = tonumber(redis.call('HGET', KEYS[2], 'generation') or '0')
local generation = math.max(before + 1, tonumber(ARGV[3]) or 0)
if ARGV[2] == '1' then redis.call('DEL', KEYS[1], KEYS[2]) end
for i = 4, #ARGV, 3 do
  local hash = ARGV[i] == 'n' and KEYS[1] or KEYS[2]
  if ARGV[i + 2] == '' then redis.call('HDEL', hash, ARGV[i + 1])
  else redis.call('HSET', hash, ARGV[i + 1], ARGV[i + 2]) end
end
redis.call('HSET', KEYS[1], 'generation', generation)
redis.call('HSET', KEYS[2], 'generation', generation)
return generation
