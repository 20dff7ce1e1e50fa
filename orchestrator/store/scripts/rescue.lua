--! keys: record journal due leases by sent stats
--! uses: clock index journal record
-- rescue: take a session from a holder whose lease ended, and make it ready again.
-- The fence grows here too: once `orphaned` is in the journal, the old holder's commit is stale.
-- Answers: rescued · alive (renewed meanwhile, or no lease) · shortened · missing. Replay: alive.
--
-- No lease ends later than one that is given now, unless the server's clock has gone back since: it was set, or a failover led
-- to another server. A dead holder would be believed for as long as that step; from now on it is for the length of its lease, as
-- whoever claimed it wrote it down, and who lives renews. It is never cut below that: its holder still believes in it, and
-- makes calls that act on the world. A claim of an older Baton says nothing of it: an hour is the most that settings allow.
--
-- ARGV: sid
local sid = ARGV[1]
local now = now_ms()
local lease = redis.call('ZSCORE', K.leases, sid)
if not lease then return {'alive'} end
if tonumber(lease) > now then
  local v = redis.call('HMGET', K.record, 'fence', 'lease')
  local fence, length = string.match(v[2] or '', '^(%d+):(%d+)$')
  local latest = now + (fence and fence == v[1] and tonumber(length) or 3600000)
  if tonumber(lease) <= latest then return {'alive'} end
  redis.call('ZADD', K.leases, latest, sid)
  return {'shortened'}
end
local f = read_record()
if not f then
  forget(sid)
  return {'missing'}
end
local phase = f.phase == 'finalizing' and 'finalizing' or 'ready'
local seq = tonumber(f.seq) + 1
append_entry(K.journal, seq, now, store_entry('orphaned', tonumber(f.fence), tonumber(f.attempts), '{}'))
redis.call('HSET', K.record, 'phase', phase, 'since', now, 'updated', now, 'seq', seq,
  'fence', math.max(tonumber(f.fence) + 1, now))
redis.call('ZREM', K.leases, sid)
redis.call('ZREM', K.sent, sid)
reindex(K.by, sid, f.app, f.rank, {phase = f.phase, status = f.status, since = tonumber(f.since)},
  {phase = phase, status = f.status}, now)
redis.call('HINCRBY', K.stats, 'orphaned', 1)
return {'rescued', f.app}
