--! keys: due leases by sent dead stats
--! uses: clock
-- measure: what a partition holds now, in figures: for metrics and overviews. It changes nothing.
--
-- ARGV: app, app, …
-- Answer: now, leases, leases that ended, waits that are overdue, since when, wake-ups under way, dead letters, since when,
-- the counters, then one list an app: sessions ready, running, waiting, finalizing, ended, dead; since when the first in
-- line stands there for steps, plugins, the finalizer; of approval, input and uncertain how many ask, and since when the
-- first does. A "since when" of nobody is 0.
local now = now_ms()

local function score_of(first)
  return first[2] and math.floor(tonumber(first[2])) or 0
end

-- The time in a member app:bucket:rank:since:sid, where the range has one.
local function since_of(from, to)
  local first = redis.call('ZRANGEBYLEX', K.by, from, to, 'LIMIT', 0, 1)[1]
  return first and tonumber(string.match(first, ':(%d+):[^:]+$')) or 0
end

local function oldest(app, ranks)
  local found = 0
  for _, rank in ipairs(ranks) do
    local since = since_of('[' .. app .. ':' .. rank .. ':', '(' .. app .. ':' .. rank .. ';')
    if since > 0 and (found == 0 or since < found) then found = since end
  end
  return found
end

local answer = {now, redis.call('ZCARD', K.leases), redis.call('ZCOUNT', K.leases, '-inf', now)}
local first_due = score_of(redis.call('ZRANGE', K.due, 0, 0, 'WITHSCORES'))
answer[4] = redis.call('ZCOUNT', K.due, '-inf', now)
answer[5] = first_due <= now and first_due or 0
answer[6] = redis.call('ZCOUNT', K.sent, now, '+inf')
answer[7] = redis.call('ZCARD', K.dead)
answer[8] = score_of(redis.call('ZRANGE', K.dead, 0, 0, 'WITHSCORES'))
answer[9] = redis.call('HGETALL', K.stats)
for i = 1, #ARGV do
  local app, row = ARGV[i], {}
  for _, phase in ipairs({'ready', 'running', 'waiting', 'finalizing'}) do
    row[#row + 1] = redis.call('ZLEXCOUNT', K.by, '[' .. app .. ':' .. phase .. ':', '(' .. app .. ':' .. phase .. ';')
  end
  row[#row + 1] = redis.call('ZLEXCOUNT', K.by, '[' .. app .. ':ended/', '(' .. app .. ':ended0')
  row[#row + 1] = redis.call('ZLEXCOUNT', K.by, '[' .. app .. ':dead:', '(' .. app .. ':dead;')
  row[#row + 1] = oldest(app, {'ready:0', 'ready:1', 'ready:2'})
  row[#row + 1] = oldest(app, {'ready:p0', 'ready:p1', 'ready:p2'})
  row[#row + 1] = oldest(app, {'finalizing:0', 'finalizing:1', 'finalizing:2', 'finalizing:p0', 'finalizing:p1', 'finalizing:p2'})
  for _, kind in ipairs({'approval', 'input', 'uncertain'}) do
    local from, to = '[' .. app .. ':asks/' .. kind .. ':', '(' .. app .. ':asks/' .. kind .. ';'
    row[#row + 1] = redis.call('ZLEXCOUNT', K.by, from, to)
    row[#row + 1] = since_of(from, to)
  end
  answer[#answer + 1] = row
end
return answer
