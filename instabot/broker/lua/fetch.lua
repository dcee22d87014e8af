-- Read a group's next entries while holding the lease; `start` is '>' or the last id of its history.
-- KEYS stream lease   ARGV token group count start
-- → {entries}, or where there are none {{}, the last id that the group was given}
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local got = redis.call('XREADGROUP', 'GROUP', ARGV[2], 'c', 'COUNT', ARGV[3], 'STREAMS', KEYS[1], ARGV[4])
if got and #got[1][2] > 0 then return {got[1][2]} end
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local facts = {}
  for i = 1, #group, 2 do facts[group[i]] = group[i + 1] end
  if facts['name'] == ARGV[2] then return {{}, facts['last-delivered-id']} end
end
return {{}, '0-0'}
