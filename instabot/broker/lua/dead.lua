-- Move entries to the dead letters, each once.
-- KEYS stream dead depth lease   ARGV token group letter queue, then per entry: id room tenant why data answer channel
if redis.call('GET', KEYS[4]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local depth, letter, done = KEYS[3], ARGV[3], 0
-- Never below nothing: somebody else's XADD was counted by nobody.
local function less(field, n)
  if redis.call('HINCRBY', depth, field, -n) <= 0 then redis.call('HDEL', depth, field) end
end
for i = 5, #ARGV, 7 do
  local id, room, tenant = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call('XACK', KEYS[1], ARGV[2], id) == 1 then
    done = done + 1
    if letter ~= 'l' then
      less(letter .. ':' .. room, 1)
      less(letter .. '@' .. tenant, 1)
    end
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', '10000', '*', 'q', ARGV[4], 'i', id, 'r', room, 't', tenant,
      'w', ARGV[i + 3], 'd', ARGV[i + 4])
    if ARGV[i + 5] ~= '' then redis.call('PUBLISH', ARGV[i + 6], ARGV[i + 5]) end
  end
end
if done > 0 then less(letter, done) end
return done
