-- Make a session a dead letter: nothing claims it until a person replays it. The fence grows, so that a
-- holder that was paused meanwhile cannot bring it back: only a person's replay may.
-- The letter has the failure that the record keeps, and the journal's entry names its class.
local function bury(sid, f, now, reason, detail)
  local failure = redis.call('HGET', K.record, 'failure') or ''
  local is_json, read = pcall(cjson.decode, failure)
  local class = is_json and type(read) == 'table' and type(read.error) == 'string' and cjson.encode(read.error)
  local seq = tonumber(f.seq) + 1
  local body = store_entry('buried', tonumber(f.fence), tonumber(f.attempts),
    '{"reason":' .. cjson.encode(reason) .. ',"detail":' .. cjson.encode(detail)
    .. (class and ',"error":' .. class or '') .. '}')
  append_entry(K.journal, seq, now, body)
  redis.call('HSET', K.record, 'phase', 'dead', 'since', now, 'updated', now, 'seq', seq, 'reason', reason,
    'fence', math.max(tonumber(f.fence) + 1, now))
  reindex(K.by, sid, f.app, f.rank, {phase = f.phase, status = f.status, since = tonumber(f.since)},
    {phase = 'dead', status = ''}, now)
  redis.call('ZADD', K.dead, now, sid)
  redis.call('HSET', K.deadinfo, sid, '{"reason":' .. cjson.encode(reason) .. ',"detail":' .. cjson.encode(detail)
    .. (class and ',"error":' .. class .. ',"failure":' .. failure or '')
    .. ',"attempts":' .. tonumber(f.attempts) .. ',"at":' .. now .. '}')
  redis.call('ZREM', K.leases, sid)
  redis.call('ZREM', K.due, sid)
  redis.call('ZREM', K.sent, sid)
  redis.call('HINCRBY', K.stats, 'buried:' .. reason, 1)
end
