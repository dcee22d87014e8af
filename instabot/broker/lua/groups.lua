-- See to it that a stream has its groups.
-- KEYS stream groups lease depth
-- ARGV token remember(1|0), then per group: name, last id known to us ('' = none), letter ('' = not counted)
-- A stream that is not there starts its groups at 0. A group that vanished from a stream with entries
-- starts behind what we know, never at 0: that would run everything again. With `remember`, groups not
-- named are destroyed. The counters of a group made anew are those of what lies behind its start.
-- → names of the groups that had vanished (data loss)
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local stream, depth, there, wanted, lost = KEYS[1], KEYS[4], {}, {}, {}
local function count(letter, start)
  for _, field in ipairs(redis.call('HKEYS', depth)) do
    local kind = string.sub(field, 2, 2)
    if string.sub(field, 1, 1) == letter and (kind == '' or kind == ':' or kind == '@') then
      redis.call('HDEL', depth, field)
    end
  end
  local from = start == '0' and '-' or '(' .. start
  while start ~= '$' do
    local rows = redis.call('XRANGE', stream, from, '+', 'COUNT', '1000')
    for _, row in ipairs(rows) do
      redis.call('HINCRBY', depth, letter, 1)
      if letter ~= 'l' then
        redis.call('HINCRBY', depth, letter .. ':' .. (row[2][2] or ''), 1)
        redis.call('HINCRBY', depth, letter .. '@' .. (row[2][4] or ''), 1)
      end
    end
    if #rows < 1000 then return end
    from = '(' .. rows[#rows][1]
  end
end
local exists = redis.call('EXISTS', stream) == 1
if exists then
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do there[info[2]] = true end
end
for i = 3, #ARGV, 3 do
  local group, last, letter = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  wanted[group] = true
  if not there[group] then
    local known = ARGV[2] == '0' or redis.call('SISMEMBER', KEYS[2], group) == 1
    local start = '0'
    if exists and redis.call('XLEN', stream) > 0 then
      start = last ~= '' and last or '$'
      if known then lost[#lost + 1] = group end
    end
    redis.call('XGROUP', 'CREATE', stream, group, start, 'MKSTREAM')
    if letter ~= '' then count(letter, start) end
  end
end
if ARGV[2] == '1' then
  for group in pairs(there) do
    if not wanted[group] then
      redis.call('XGROUP', 'DESTROY', stream, group)
      if group == 'log' then redis.call('HDEL', depth, 'l') end
    end
  end
  redis.call('DEL', KEYS[2])
  for group in pairs(wanted) do redis.call('SADD', KEYS[2], group) end
end
return lost
