-- Acknowledge entries of the group `compat` and put their lines on the list: both or neither, and only once.
-- KEYS stream list dead lease   ARGV token cap drop(1|0), then per entry: id line ('' = acknowledge only)
-- A full list stops it at the first line; with `drop` such lines are given up, and a dead letter says how many.
-- → how many entries were dealt with
if redis.call('GET', KEYS[4]) ~= ARGV[1] then return redis.error_reply('FENCED') end
-- Before any write: where the key holds something else, this raises and nothing is half done.
local length, cap, dropped, done = redis.call('LLEN', KEYS[2]), tonumber(ARGV[2]), 0, 0
for i = 4, #ARGV, 2 do
  local line = ARGV[i + 1]
  local fits = line == '' or length < cap
  if not fits and ARGV[3] ~= '1' then break end
  if redis.call('XACK', KEYS[1], 'compat', ARGV[i]) == 1 and line ~= '' then
    if fits then
      length = redis.call('RPUSH', KEYS[2], line)
    else
      dropped = dropped + 1
    end
  end
  done = done + 1
end
if dropped > 0 then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', '10000', '*', 'q', 'messages', 'i', '', 'r', '', 't', '', 'w',
    'the list `messages` is full, nobody pops it, and memory is short: ' .. dropped .. ' lines given up', 'd', '')
end
return done
