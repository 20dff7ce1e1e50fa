--! keys: record journal leases by stats
--! uses: clock index journal record
-- release: hand a session back without a commit; the attempt does not count.
-- Answers: released · stale. Replay: the lease is gone, the answer is stale, nothing more happens.
--
-- ARGV: sid, fence
local f = read_record()
if not f or f.fence ~= ARGV[2] or not redis.call('ZSCORE', K.leases, ARGV[1]) then return {'stale'} end
local now = now_ms()
local phase = f.phase == 'finalizing' and 'finalizing' or 'ready'
local seq = tonumber(f.seq) + 1
append_entry(K.journal, seq, now, store_entry('released', tonumber(f.fence), tonumber(f.attempts), '{}'))
redis.call('HSET', K.record, 'phase', phase, 'since', now, 'updated', now, 'seq', seq,
  'attempts', math.max(tonumber(f.attempts) - 1, 0))
redis.call('ZREM', K.leases, ARGV[1])
reindex(K.by, ARGV[1], f.app, f.rank, {phase = f.phase, status = f.status, since = tonumber(f.since)},
  {phase = phase, status = f.status}, now)
redis.call('HINCRBY', K.stats, 'released', 1)
return {'released', phase}
