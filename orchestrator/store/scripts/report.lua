--! keys: model
--! uses: whole model_clock
-- report: say how a call of a service ended: close its circuit, count a failure, hold it back, mend the count of tokens.
--
-- Outcomes: answered (the circuit is closed, whatever it was) · failed (as the signature says; as often in a row as the
-- threshold says, and at once where it was probed, the circuit opens) · unknown (a probe ends without a verdict).
-- Fields are those of `admit`. What a call was charged and what it used differ in tokens; the difference is made good.
-- Answers: closed · counted (failures in a row) · opened (failures in a row) · malformed.
-- Replay: the last reports are known by their names, with what they were answered, and nothing counts twice.
--
--   told:XX         the last reports whose names begin with these two digits: "NAME WORD COUNT;", newest first. All whose
--                   answers are lost with one server must still be known when they are repeated, and each of them goes
--                   through one short text.
--
-- ARGV: service, outcome, signature, hold ms, threshold (0: never opens), open ms, name of this very report (hexadecimal),
--       then for each bucket of tokens: name, interval us, units charged, units used
local service, outcome, request = ARGV[1], ARGV[2], ARGV[7]
local hold_ms, threshold, open_ms = whole(ARGV[4]), whole(ARGV[5]), whole(ARGV[6])
if not (hold_ms and threshold and open_ms and request) or (#ARGV - 7) % 4 ~= 0 then return {'malformed', #ARGV} end
if not string.find(request, '^%x+$') then return {'malformed', 7} end
for i = 8, #ARGV, 4 do
  if not (whole(ARGV[i + 1]) and whole(ARGV[i + 2]) and whole(ARGV[i + 3])) then return {'malformed', i} end
end
local field = 'told:' .. string.sub(request, 1, 2)
local told = redis.call('HGET', K.model, field) or ''
local word, number = string.match(';' .. told, ';' .. request .. ' (%l+) (%d+);')
if word then return {word, tonumber(number)} end

local now = model_now()
local MOST_TOLD = 1600 -- bytes of each text: some sixty reports, and some 17,000 in all
local function tell(answer, count)
  told = string.match(string.sub(request .. ' ' .. answer .. ' ' .. count .. ';' .. told, 1, MOST_TOLD), '^.*;') or ''
  redis.call('HSET', K.model, field, told, 'clock', text(now))
  local ms = 86400000 + math.max(hold_ms, open_ms)
  if redis.call('PTTL', K.model) < ms then redis.call('PEXPIRE', K.model, ms) end -- GT is for servers from 7.0 on
end
for i = 8, #ARGV, 4 do
  local arrival = tonumber(redis.call('HGET', K.model, 'rate:' .. ARGV[i]) or '0')
  local mended = math.max(arrival, now) + (tonumber(ARGV[i + 3]) - tonumber(ARGV[i + 2])) * tonumber(ARGV[i + 1])
  redis.call('HSET', K.model, 'rate:' .. ARGV[i], text(math.max(mended, 0)))
end
if hold_ms > 0 then
  local before = tonumber(redis.call('HGET', K.model, 'hold:' .. service) or '0')
  redis.call('HSET', K.model, 'hold:' .. service, text(math.max(before, now + hold_ms * 1000)))
end
if outcome == 'unknown' then
  redis.call('HDEL', K.model, 'probe:' .. service)
  tell('closed', 0)
  return {'closed', 0}
end
if outcome == 'answered' then
  redis.call('HDEL', K.model, 'fails:' .. service, 'open:' .. service, 'probe:' .. service)
  tell('closed', 0)
  return {'closed', 0}
end
local v = redis.call('HMGET', K.model, 'fails:' .. service, 'open:' .. service)
local count, signature = string.match(v[1] or '', '^(%d+)|(.*)$')
count = signature == ARGV[3] and tonumber(count) + 1 or 1
redis.call('HSET', K.model, 'fails:' .. service, count .. '|' .. ARGV[3])
if threshold == 0 or (count < threshold and not v[2]) then
  tell('counted', count)
  return {'counted', count}
end
redis.call('HSET', K.model, 'open:' .. service, text(now + open_ms * 1000))
redis.call('HDEL', K.model, 'probe:' .. service)
tell('opened', count)
return {'opened', count}
