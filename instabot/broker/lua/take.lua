-- Move payloads from the list `control` to the work list, where they stay until `pass` is done with them.
-- KEYS list work lease   ARGV token count bytes   → the first payloads of the work list, oldest first
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local out, size = {}, 0
for i = 0, tonumber(ARGV[2]) - 1 do
  local payload = redis.call('LINDEX', KEYS[2], i)
    or redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')
  if not payload then break end
  out[#out + 1] = payload
  size = size + #payload
  if size >= tonumber(ARGV[3]) then break end
end
return out
