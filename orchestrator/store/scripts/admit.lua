--! keys: model
--! uses: whole model_clock
-- admit: ask whether a service may be called now: its circuit, what it asked for itself, and its rates.
--
-- One hash a provider; `service` is the provider, the model and where it is. Times in it are microseconds.
--
--   hold:SERVICE    until when the service asked to be left alone
--   open:SERVICE    until when its circuit is open; after that one probe at a time goes out, until one succeeds
--   probe:SERVICE   until when somebody probes, and who: "TIME|MARK"
--   fails:SERVICE   how often it failed in a row in the same way: "COUNT|SIGNATURE"
--   rate:BUCKET     theoretical arrival time of a rate (GCRA)
--   clock           when it was last written (lib/model_clock)
--
-- A bucket lets `capacity` units go at once and one each `interval` after them. What needs more units than it holds
-- goes alone, once it is full. With `reserve`, a call that must wait has its place taken already: at its time it asks
-- again, without buckets. A shared bucket, of several models, is charged as of now even then: one model's long line
-- must not keep the others waiting.
-- Answers: admitted (probing, failures in a row) · limited (ms) · reserved (ms) · held (ms, why) · malformed.
-- Replay: a place may be taken twice and stays empty once; a probe is known by its mark.
--
-- ARGV: service, mark, reserve, probe ms, then for each bucket: name, units, interval us, capacity, shared
local service, mark, probe_ms = ARGV[1], ARGV[2], whole(ARGV[4])
if not probe_ms or (#ARGV - 4) % 5 ~= 0 then return {'malformed', #ARGV} end
for i = 5, #ARGV, 5 do
  if not (whole(ARGV[i + 1]) and whole(ARGV[i + 2]) and whole(ARGV[i + 3])) then return {'malformed', i} end
end
local now = model_now()
local function ms(us) return math.ceil(us / 1000) end
local function lengthen(left) -- GT is for servers from 7.0 on
  if redis.call('PTTL', K.model) < left then redis.call('PEXPIRE', K.model, left) end
end

local v = redis.call('HMGET', K.model, 'hold:' .. service, 'open:' .. service, 'probe:' .. service, 'fails:' .. service)
local hold, open = tonumber(v[1] or '0'), tonumber(v[2] or '0')
if hold > now then return {'held', ms(hold - now), 'asked'} end
if open > now then return {'held', ms(open - now), 'circuit'} end
local probing = 0
if v[2] then
  local limit, who = string.match(v[3] or '', '^(%d+)|(.*)$')
  if limit and tonumber(limit) > now and who ~= mark then return {'held', ms(tonumber(limit) - now), 'probing'} end
  probing = 1
end

local arrivals, wait = {}, 0
for i = 5, #ARGV, 5 do
  local units, interval, capacity = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local arrival = math.max(now, tonumber(redis.call('HGET', K.model, 'rate:' .. ARGV[i]) or '0'))
  arrivals[i] = arrival
  wait = math.max(wait, arrival + (units - math.max(units, capacity)) * interval - now)
end
if wait > 0 and ARGV[3] ~= '1' then return {'limited', ms(wait)} end
for i = 5, #ARGV, 5 do
  local from = arrivals[i]
  if ARGV[i + 4] ~= '1' then from = math.max(from, now + wait) end
  local arrival = from + tonumber(ARGV[i + 1]) * tonumber(ARGV[i + 2])
  redis.call('HSET', K.model, 'rate:' .. ARGV[i], text(arrival), 'clock', text(now))
end
if wait > 0 then
  lengthen(86400000 + ms(wait))
  return {'reserved', ms(wait)}
end
if probing == 1 then
  redis.call('HSET', K.model, 'probe:' .. service, text(now + probe_ms * 1000) .. '|' .. mark, 'clock', text(now))
end
lengthen(86400000)
return {'admitted', probing, tonumber(string.match(v[4] or '', '^%d+') or '0')}
