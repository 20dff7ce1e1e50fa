--! keys: model
--! uses: whole
-- report: say how a call of a service ended: close its circuit, count a failure, hold it back, mend the count of tokens.
--
-- Outcomes: answered (the circuit is closed, whatever it was) · failed (as the signature says; as often in a row as the
-- threshold says, and at once where it was probed, the circuit opens) · unknown (a probe ends without a verdict).
-- Fields are those of `admit`. What a call was charged and what it used differ in tokens; the difference is made good.
-- Answers: closed · counted (failures in a row) · opened (failures in a row) · malformed. Replay: a failure counts twice.
--
-- ARGV: service, outcome, signature, hold ms, threshold (0: never opens), open ms, then for each bucket of tokens: name,
--       interval us, units charged, units used
local service, outcome = ARGV[1], ARGV[2]
local hold_ms, threshold, open_ms = whole(ARGV[4]), whole(ARGV[5]), whole(ARGV[6])
if not (hold_ms and threshold and open_ms) or (#ARGV - 6) % 4 ~= 0 then return {'malformed', #ARGV} end
for i = 7, #ARGV, 4 do
  if not (whole(ARGV[i + 1]) and whole(ARGV[i + 2]) and whole(ARGV[i + 3])) then return {'malformed', i} end
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function text(us) return string.format('%.0f', us) end

for i = 7, #ARGV, 4 do
  local arrival = tonumber(redis.call('HGET', K.model, 'rate:' .. ARGV[i]) or '0')
  local mended = math.max(arrival, now) + (tonumber(ARGV[i + 3]) - tonumber(ARGV[i + 2])) * tonumber(ARGV[i + 1])
  redis.call('HSET', K.model, 'rate:' .. ARGV[i], text(math.max(mended, 0)))
end
if hold_ms > 0 then
  local before = tonumber(redis.call('HGET', K.model, 'hold:' .. service) or '0')
  redis.call('HSET', K.model, 'hold:' .. service, text(math.max(before, now + hold_ms * 1000)))
end
redis.call('PEXPIRE', K.model, 86400000 + math.max(hold_ms, open_ms))
if outcome == 'unknown' then
  redis.call('HDEL', K.model, 'probe:' .. service)
  return {'closed'}
end
if outcome == 'answered' then
  redis.call('HDEL', K.model, 'fails:' .. service, 'open:' .. service, 'probe:' .. service)
  return {'closed'}
end
local v = redis.call('HMGET', K.model, 'fails:' .. service, 'open:' .. service)
local count, signature = string.match(v[1] or '', '^(%d+)|(.*)$')
count = signature == ARGV[3] and tonumber(count) + 1 or 1
redis.call('HSET', K.model, 'fails:' .. service, count .. '|' .. ARGV[3])
if threshold == 0 or (count < threshold and not v[2]) then return {'counted', count} end
redis.call('HSET', K.model, 'open:' .. service, text(now + open_ms * 1000))
redis.call('HDEL', K.model, 'probe:' .. service)
return {'opened', count}
