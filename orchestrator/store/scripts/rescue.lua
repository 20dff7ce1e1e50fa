--! keys: record journal due leases by sent stats
--! uses: clock index journal record
-- rescue: take a session from a holder whose lease ended, and make it ready again.
-- The fence grows here too: once `orphaned` is in the journal, the old holder's commit is stale.
-- Answers: rescued · alive (renewed meanwhile, or no lease) · missing. Replay: alive.
--
-- ARGV: sid
local sid = ARGV[1]
local now = now_ms()
local lease = redis.call('ZSCORE', K.leases, sid)
if not lease or tonumber(lease) > now then return {'alive'} end
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
