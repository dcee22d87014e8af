-- Write rooms' live state while holding the shard, so that a frozen runtime that thaws late overwrites nothing.
-- KEYS live lease   ARGV token n, then n times: room json, then the rooms to take out
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local last = 2 + 2 * tonumber(ARGV[2])
for i = 3, last, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
return #ARGV
