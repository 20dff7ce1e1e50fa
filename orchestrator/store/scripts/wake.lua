--! keys: record journal due leases by sent
--! uses: clock index journal record
-- wake: a waiting session whose time has come becomes ready.
-- Answers: woken · early · missing. Replay: it no longer waits; early.
--
-- ARGV: sid
local sid = ARGV[1]
local now = now_ms()
local due = redis.call('ZSCORE', K.due, sid)
if not due or tonumber(due) > now then return {'early'} end
local f = read_record()
if not f then
  forget(sid)
  return {'missing'}
end
redis.call('ZREM', K.due, sid)
if f.phase ~= 'waiting' then return {'early'} end
local seq = tonumber(f.seq) + 1
append_entry(K.journal, seq, now, store_entry('due', tonumber(f.fence), tonumber(f.attempts), '{}'))
redis.call('HSET', K.record, 'phase', 'ready', 'since', now, 'updated', now, 'seq', seq)
reindex(K.by, sid, f.app, f.rank, {phase = 'waiting', status = f.status, since = tonumber(f.since)},
  {phase = 'ready', status = f.status}, now)
return {'woken', f.app}
