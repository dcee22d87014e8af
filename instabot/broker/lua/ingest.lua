-- Append a batch to a stream, each item once, unless it is full.
-- KEYS stream seen ids depth groups lease
-- ARGV token ('' = not fenced) letter cap tenant_cap log_cap now_ms keep_ms default_groups
--      then per item: source counter ref room tenant data
-- `source counter` is a high-water mark; `ref` an id of its own. Both may be ''.
-- → one letter per item: A(dded) D(uplicate) F(ull). After an F of a source all its later items are F:
--   a mark that passed a refused item would turn its retry into a duplicate.
if ARGV[1] ~= '' and redis.call('GET', KEYS[6]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local stream, seen, ids, depth, letter = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[2]
if redis.call('EXISTS', stream) == 0 then
  local groups = letter == 'm' and redis.call('SMEMBERS', KEYS[5]) or {}
  if #groups == 0 then
    for g in string.gmatch(ARGV[8], '[^,]+') do groups[#groups + 1] = g end
    if letter == 'm' then redis.call('SADD', KEYS[5], unpack(groups)) end
  end
  for _, g in ipairs(groups) do redis.call('XGROUP', 'CREATE', stream, g, '0', 'MKSTREAM') end
end
-- Until a backend has said which groups there are, there are those the stream is born with.
local logged = letter == 'm' and
  (redis.call('SISMEMBER', KEYS[5], 'log') == 1 or redis.call('EXISTS', KEYS[5]) == 0)
local total = tonumber(redis.call('HGET', depth, letter) or '0')
local unlogged = logged and tonumber(redis.call('HGET', depth, 'l') or '0') or 0
local cap, tenant_cap, log_cap = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local marks, moved, stuck, rooms, tenants, held, out = {}, {}, {}, {}, {}, {}, {}
local added, referred = 0, false
for i = 9, #ARGV, 6 do
  local source, counter, ref, room, tenant = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local duplicate = false
  if source ~= '' then
    if not marks[source] then marks[source] = tonumber(redis.call('HGET', seen, source) or '0') end
    duplicate = counter <= marks[source]
  end
  local known = not duplicate and ref ~= '' and redis.call('ZSCORE', ids, ref)
  if not held[tenant] then
    held[tenant] = tonumber(redis.call('HGET', depth, letter .. '@' .. tenant) or '0')
  end
  if duplicate then
    out[#out + 1] = 'D'
  elseif stuck[source] or (not known and
      (total + added >= cap or unlogged + added >= log_cap or held[tenant] >= tenant_cap)) then
    if source ~= '' then stuck[source] = true end
    out[#out + 1] = 'F'
  else
    if source ~= '' then marks[source] = counter; moved[source] = true end
    if known then
      out[#out + 1] = 'D'
    else
      redis.call('XADD', stream, '*', 'r', room, 't', tenant, 'd', ARGV[i + 5])
      if ref ~= '' then redis.call('ZADD', ids, ARGV[6], ref); referred = true end
      rooms[room] = (rooms[room] or 0) + 1
      tenants[tenant] = (tenants[tenant] or 0) + 1
      held[tenant] = held[tenant] + 1
      added = added + 1
      out[#out + 1] = 'A'
    end
  end
end
for source in pairs(moved) do redis.call('HSET', seen, source, marks[source]) end
if added > 0 then
  redis.call('HINCRBY', depth, letter, added)
  if logged then redis.call('HINCRBY', depth, 'l', added) end
  for room, n in pairs(rooms) do redis.call('HINCRBY', depth, letter .. ':' .. room, n) end
  for tenant, n in pairs(tenants) do redis.call('HINCRBY', depth, letter .. '@' .. tenant, n) end
end
if referred then redis.call('ZREMRANGEBYSCORE', ids, '-inf', tonumber(ARGV[6]) - tonumber(ARGV[7])) end
return table.concat(out)
