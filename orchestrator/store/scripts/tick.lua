--! keys: due leases by sent left
--! uses: clock whole
-- tick: what a partition needs now: expired leases, waits whose time has come, and the first
-- sessions in line of every app, but for those that are left alone. It changes nothing but to forget marks whose time is over.
--
-- ARGV: most sids a list, most candidates an app, app, …
-- Answer: now, expired sids, due sids, candidates as index members, busy count by app, sent count, when the next look is due
-- (busy: running, or with a wake-up under way; the next look: now while somebody works here, else when the first wait is
-- over, -1 where none will be)
local now = now_ms()
local most, each = whole(ARGV[1]), whole(ARGV[2])
if not most or not each then return {'malformed'} end
redis.call('ZREMRANGEBYSCORE', K.sent, '-inf', now)
local expired = redis.call('ZRANGEBYSCORE', K.leases, '-inf', now, 'LIMIT', 0, most)
local due = redis.call('ZRANGEBYSCORE', K.due, '-inf', now, 'LIMIT', 0, most)
local sent = redis.call('ZCARD', K.sent)
local left = redis.call('ZCARD', K.left)
if left > 0 then left = left - redis.call('ZREMRANGEBYSCORE', K.left, '-inf', now) end
local candidates, busy = {}, {}
for i = 3, #ARGV do
  local under_way = 0
  local running = redis.call('ZLEXCOUNT', K.by, '[' .. ARGV[i] .. ':running:', '(' .. ARGV[i] .. ':running;')
  -- What is ready for a worker with a sandbox stands behind the rest (rank p0 to p2): a long line of either must not
  -- hide the other.
  for _, range in ipairs({{'finalizing:', 'finalizing;'}, {'ready:', 'ready:p'}, {'ready:p', 'ready;'}}) do
    local bucket = range[1] == 'finalizing:' and 'finalizing' or 'ready'
    local from = '[' .. ARGV[i] .. ':' .. range[1]
    local to = '(' .. ARGV[i] .. ':' .. range[2]
    local line = redis.call('ZRANGEBYLEX', K.by, from, to, 'LIMIT', 0, each + sent + left)
    local found = 0
    for _, member in ipairs(line) do
      local sid = string.match(member, '[^:]+$')
      local held = bucket == 'finalizing' and redis.call('ZSCORE', K.leases, sid)
      if redis.call('ZSCORE', K.sent, sid) then
        under_way = under_way + 1
      elseif found < each and not held and not (left > 0 and redis.call('ZSCORE', K.left, sid)) then
        found = found + 1
        candidates[#candidates + 1] = member
      end
    end
  end
  busy[#busy + 1] = running + under_way
end
local next_at = now
if sent == 0 and redis.call('ZCARD', K.leases) == 0 then
  local first = redis.call('ZRANGE', K.due, 0, 0, 'WITHSCORES')[2]
  next_at = first and math.floor(tonumber(first)) or -1
end
return {now, expired, due, candidates, busy, sent, next_at}
