-- The index `by` is one sorted set ordered by its members' text: app:bucket:rank:since:sid.
-- bucket is the phase, or ended/STATUS; rank orders what is ready or finalizing (0 = first); with a p before it, the
-- session is ready for a worker with a sandbox.
-- A range over "app:bucket:" is then a list by time, and its ZLEXCOUNT a count, in one declared key.
local function index_member(app, phase, status, rank, since, sid)
  local bucket = phase
  if phase == 'ended' then bucket = 'ended/' .. status end
  if phase ~= 'ready' and phase ~= 'finalizing' then rank = '-' end
  return app .. ':' .. bucket .. ':' .. rank .. ':' .. since .. ':' .. sid
end

-- Who waits for a person stands in `by` a second time, under asks/KIND: what is asked is listed and counted by that alone.
local function asks_member(app, kind, since, sid)
  return app .. ':asks/' .. kind .. ':-:' .. since .. ':' .. sid
end

local function reindex(by, sid, app, rank, from, to, now)
  redis.call('ZREM', by, index_member(app, from.phase, from.status, rank, from.since, sid))
  if from.phase == 'waiting' then
    redis.call('ZREM', by, asks_member(app, 'approval', from.since, sid), asks_member(app, 'input', from.since, sid),
      asks_member(app, 'uncertain', from.since, sid))
  end
  if to.asks then redis.call('ZADD', by, 0, asks_member(app, to.asks, now, sid)) end
  redis.call('ZADD', by, 0, index_member(app, to.phase, to.status, to.rank or rank, now, sid))
end
