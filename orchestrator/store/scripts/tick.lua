--! keys: due leases by sent left
--! uses: clock whole
-- tick: what a partition needs now: expired leases, waits whose time has come, and the first
-- sessions in line of every app, but for those that are left alone. It changes nothing but to forget marks whose time is over,
-- and to bring near what no clock of today can have set.
--
--   sent, left   zset   times further ahead than the longest there are: the server's clock has gone back since (it was set, or
--                       a failover led to another one), and a lost wake-up would be believed in for as long as that step.
--                       From now on they last as long as if they had just been set.
--   leases       zset   those further ahead than the longest lease of whoever is known to work are told, and not cut: somebody's
--                       may last longer who is not known just now. What it may be, rescue sees.
--
-- ARGV: most sids a list, most candidates an app, ms of the longest lease, of a wake-up under way, of being left alone, app, …
-- Answer: now, expired sids, sids of leases too far ahead (the furthest first), due sids, candidates as index members, busy count
-- by app, sent count, when the next look is due
-- (busy: running, or with a wake-up under way; the next look: now while somebody works here, else when the first wait is
-- over, -1 where none will be)
--
-- The index is as long as the partition has sessions, and each search in it goes through memory that no cache holds. So no
-- search is made for what other keys say: nobody runs without a lease, and a line that comes whole is looked for once.
local now = now_ms()
local most, each = whole(ARGV[1]), whole(ARGV[2])
local longest = {leases = whole(ARGV[3]), sent = whole(ARGV[4]), left = whole(ARGV[5])}
if not (most and each and longest.leases and longest.sent and longest.left) then return {'malformed'} end
redis.call('ZREMRANGEBYSCORE', K.sent, '-inf', now)

-- How many a set holds; those too far ahead are brought near, or told.
local far = {}
local function count(name)
  local number = redis.call('ZCARD', K[name])
  if number == 0 or most == 0 then return number end
  local latest = now + longest[name]
  if tonumber(redis.call('ZRANGE', K[name], -1, -1, 'WITHSCORES')[2]) > latest then
    local found = redis.call('ZREVRANGEBYSCORE', K[name], '+inf', '(' .. latest, 'LIMIT', 0, most)
    if name == 'leases' then far, found = found, {} end
    for _, sid in ipairs(found) do redis.call('ZADD', K[name], latest, sid) end
  end
  return number
end

local expired = redis.call('ZRANGEBYSCORE', K.leases, '-inf', now, 'LIMIT', 0, most)
local due = redis.call('ZRANGEBYSCORE', K.due, '-inf', now, 'LIMIT', 0, most)
local sent, leases, left = count('sent'), count('leases'), count('left')
if left > 0 then left = left - redis.call('ZREMRANGEBYSCORE', K.left, '-inf', now) end
local enough = each + sent + left
local candidates, busy = {}, {}

local function line_of(app, from, to)
  return redis.call('ZRANGEBYLEX', K.by, '[' .. app .. ':' .. from, '(' .. app .. ':' .. to, 'LIMIT', 0, enough)
end

-- Which of the three lines of its app a member stands in.
local function place(app, member)
  local first = string.sub(member, #app + 2, #app + 2)
  if first == 'f' then return 'finalizing' end
  return string.sub(member, #app + 8, #app + 8) == 'p' and 'plugins' or 'steps'
end

for i = 6, #ARGV do
  local app, under_way = ARGV[i], 0
  local running = leases > 0 and redis.call('ZLEXCOUNT', K.by, '[' .. app .. ':running:', '(' .. app .. ':running;') or 0
  -- Nothing stands between finalizing and ready. What is ready for a worker with a sandbox stands behind the rest (rank
  -- p0 to p2). Where all of it is more than enough, each is looked for alone: a long line of one must not hide another.
  local lines = {line_of(app, 'finalizing:', 'ready;')}
  if #lines[1] == enough then
    lines = {line_of(app, 'finalizing:', 'finalizing;'), line_of(app, 'ready:', 'ready:p'), line_of(app, 'ready:p', 'ready;')}
  end
  local found = {finalizing = 0, steps = 0, plugins = 0}
  for _, line in ipairs(lines) do
    for _, member in ipairs(line) do
      local sid, stands = string.match(member, '[^:]+$'), place(app, member)
      local held = stands == 'finalizing' and redis.call('ZSCORE', K.leases, sid)
      if sent > 0 and redis.call('ZSCORE', K.sent, sid) then
        under_way = under_way + 1
      elseif found[stands] < each and not held and not (left > 0 and redis.call('ZSCORE', K.left, sid)) then
        found[stands] = found[stands] + 1
        candidates[#candidates + 1] = member
      end
    end
  end
  busy[#busy + 1] = running + under_way
end
local next_at = now
if sent == 0 and leases == 0 then
  local first = redis.call('ZRANGE', K.due, 0, 0, 'WITHSCORES')[2]
  next_at = first and math.floor(tonumber(first)) or -1
end
return {now, expired, far, due, candidates, busy, sent, next_at}
