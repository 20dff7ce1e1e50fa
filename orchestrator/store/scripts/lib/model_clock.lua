-- The time of the gate before model services, in microseconds by the server's clock, and the same as it is kept.
--
--   clock           the time of the last write
--
-- Where that is later than now, the clock has gone back since: it was set, or a failover led to another server. All that is kept
-- is too late by that step then, and nobody could call a service for as long as it: it is brought near by as much.
local function text(us) return string.format('%.0f', us) end
local function model_now()
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local step = tonumber(redis.call('HGET', K.model, 'clock') or '0') - now
  if step > 0 then
    local kept = redis.call('HGETALL', K.model)
    for i = 1, #kept, 2 do
      local us, rest = string.match(kept[i + 1], '^(%d+)(.*)$')
      if us and string.find(' hold open probe rate ', ' ' .. string.match(kept[i], '^%l*') .. ' ', 1, true) then
        redis.call('HSET', K.model, kept[i], text(math.max(tonumber(us) - step, 0)) .. rest)
      end
    end
    redis.call('HSET', K.model, 'clock', text(now))
  end
  return now
end
