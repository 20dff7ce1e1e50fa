--! keys: record journal by dead deadinfo stats
--! uses: clock index journal record whole
-- replay: a person sends a dead letter again.
--
-- Answers: replayed · missing · not_dead · changed (it is not the letter that was read: the session went on and died again,
-- and the cursor would take it back to before what it has done since) · malformed.
-- Replay of the replay: the record knows the last request by its name, and the answer is what it was - also where the session
-- has died again meanwhile, which would be another letter.
--
-- ARGV: sid, entry, bell, cursor with its failures forgotten, format of both, name of this very request, revision of the
--       session that the cursor was read from
local sid, format, request, rev = ARGV[1], whole(ARGV[5]), ARGV[6], ARGV[7]
if not format or not request or request == '' or not rev then return {'malformed'} end
local f = read_record()
if not f then return {'missing'} end
if redis.call('HGET', K.record, 'replayed') == request then return {'replayed', now_ms()} end
if f.phase ~= 'dead' then return {'not_dead', f.phase} end
if f.rev ~= rev then return {'changed'} end
local now = now_ms()
local seq = tonumber(f.seq) + 1
append_entry(K.journal, seq, now, ARGV[2])
redis.call('HSET', K.record, 'phase', 'ready', 'since', now, 'updated', now, 'seq', seq, 'attempts', '0',
  'reason', '', 'failure', '', 'cursor', ARGV[4], 'replayed', request)
redis.call('HINCRBY', K.record, 'replays', 1)
if f.format < format then redis.call('HSET', K.record, 'format', format) end
redis.call('ZREM', K.dead, sid)
redis.call('HDEL', K.deadinfo, sid)
reindex(K.by, sid, f.app, f.rank, {phase = 'dead', status = f.status, since = tonumber(f.since)},
  {phase = 'ready', status = f.status}, now)
redis.call('HINCRBY', K.stats, 'replayed', 1)
redis.call('PUBLISH', ARGV[3], sid)
return {'replayed', now}
