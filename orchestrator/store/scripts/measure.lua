--! keys: due leases by sent dead stats
--! uses: clock groups
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

-- What is told of an app, and where in its list: sessions by phase, the first in each line, who asks a person.
local PHASES = {ready = 1, running = 2, waiting = 3, finalizing = 4, ended = 5, dead = 6}
local LINES = {ready = 7, plugins = 8, finalizing = 9}
local ASKS = {approval = 10, input = 12, uncertain = 14}
local rows = {}
for i = 1, #ARGV do rows[ARGV[i]] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} end

local function note_first(row, at, since)
  since = tonumber(since)
  if row[at] == 0 or since < row[at] then row[at] = since end
end

for _, group in ipairs(groups_of(K.by)) do
  local row, kind, phase = rows[group.app], string.match(group.bucket, '^asks/(.*)$'), string.match(group.bucket, '^%l+')
  local line = phase == 'ready' and string.sub(group.rank, 1, 1) == 'p' and 'plugins' or phase
  local at = kind and ASKS[kind] or PHASES[phase]
  if row and at then
    row[at] = row[at] + group.count
    if kind then note_first(row, at + 1, group.since) end
    if LINES[line] then note_first(row, LINES[line], group.since) end
  end
end

local answer = {now, redis.call('ZCARD', K.leases), redis.call('ZCOUNT', K.leases, '-inf', now)}
local first_due = score_of(redis.call('ZRANGE', K.due, 0, 0, 'WITHSCORES'))
answer[4] = redis.call('ZCOUNT', K.due, '-inf', now)
answer[5] = first_due <= now and first_due or 0
answer[6] = redis.call('ZCOUNT', K.sent, now, '+inf')
answer[7] = redis.call('ZCARD', K.dead)
answer[8] = score_of(redis.call('ZRANGE', K.dead, 0, 0, 'WITHSCORES'))
answer[9] = redis.call('HGETALL', K.stats)
for i = 1, #ARGV do answer[#answer + 1] = rows[ARGV[i]] end
return answer
