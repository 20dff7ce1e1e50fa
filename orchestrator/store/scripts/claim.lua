--! keys: record journal context mailbox intents due leases by sent dead deadinfo stats outbox
--! uses: clock index journal record bury whole
-- claim: take the lease and read what the next step needs, in one act.
--
-- Answers: claimed · missing · settled · busy (a live lease) · early (it waits, and nothing came)
-- · foreign (this worker has not that version of the app) · newer (a newer Baton has touched it) · buried (attempts are spent) · suspect (two
-- holders in a row died with it: claim it alone, or what runs beside it is buried with it).
-- The fence is max(fence + 1, now), so it also grows across a restored or failed-over server.
-- Replay: the same holder text claims again while its lease lives and gets the same fence.
--
--   record   hash    fence, holder, attempts + 1, phase running,    leases  zset  sid -> lease end
--                    lease <fence>:<ms that it lasts> (rescue)
--   mailbox  list    read, not taken (commit takes)                  due     zset  sid removed
--   journal  stream  an `orphaned` entry where a dead holder is succeeded
--   by       zset    moved to running                                sent    zset  sid removed
--
-- ARGV: sid, holder, lease ms, max attempts, context entries known (-1: none wanted), adopt, alone, format, digest, …
local sid, holder = ARGV[1], ARGV[2]
local format = whole(ARGV[8])
if not (format and whole(ARGV[3]) and whole(ARGV[4]) and (ARGV[5] == '-1' or whole(ARGV[5]))) then return {'malformed'} end
local now = now_ms()
local f = read_record()
if not f then
  forget(sid)
  return {'missing'}
end
if f.phase ~= 'finalizing' and not is_allowed(f.phase, 'running') then
  forget(sid)
  return {'settled', f.phase}
end

local lease = redis.call('ZSCORE', K.leases, sid)
local again = lease and tonumber(lease) > now and f.holder == holder
if lease and tonumber(lease) > now and not again then return {'busy', lease} end

if not again then
  if f.phase == 'waiting' and f.posts == 0 then
    local due = redis.call('ZSCORE', K.due, sid)
    if not due or tonumber(due) > now then return {'early'} end
  end
  if f.format > format then
    redis.call('ZADD', K.sent, 'XX', 'LT', now + 500, sid) -- as below
    return {'newer', f.format, f.app}
  end
  local known = ARGV[6] == '1'
  for i = 9, #ARGV do known = known or ARGV[i] == f.spec end
  if not known then
    -- Somebody else has that version: its wake-up is sent again soon, not only when the mark runs out.
    redis.call('ZADD', K.sent, 'XX', 'LT', now + 500, sid)
    return {'foreign', f.spec, f.app}
  end
  local seq, attempts, most = tonumber(f.seq), tonumber(f.attempts), tonumber(ARGV[4])
  if attempts >= 2 and attempts < most and ARGV[7] ~= '1' then return {'suspect', attempts} end
  if lease then
    seq = seq + 1
    append_entry(K.journal, seq, now, store_entry('orphaned', tonumber(f.fence), attempts, '{}'))
    redis.call('HINCRBY', K.stats, 'orphaned', 1)
    f.seq = seq
  end
  if attempts >= most then
    bury(sid, f, now, 'attempts', 'claimed ' .. attempts .. ' times without a commit')
--! then uses: outbox
    tell_outbox(sid, f.app, 'dead', tonumber(f.seq) + 1, now)
    return {'buried', 'attempts'}
  end
  f.fence = math.max(tonumber(f.fence) + 1, now)
  local phase = f.phase == 'finalizing' and 'finalizing' or 'running'
  redis.call('HSET', K.record, 'phase', phase, 'fence', f.fence, 'holder', holder, 'attempts', attempts + 1,
    'seq', seq, 'since', now, 'claimed', now, 'lease', f.fence .. ':' .. ARGV[3])
  if f.format < format then redis.call('HSET', K.record, 'format', format) end
  redis.call('ZADD', K.leases, now + tonumber(ARGV[3]), sid)
  redis.call('ZREM', K.due, sid)
  redis.call('ZREM', K.sent, sid)
  reindex(K.by, sid, f.app, f.rank, {phase = f.phase, status = f.status, since = tonumber(f.since)},
    {phase = phase, status = f.status}, now)
end

local tail = {}
local length = redis.call('LLEN', K.context)
local known = tonumber(ARGV[5])
if known >= 0 and known < length then tail = redis.call('LRANGE', K.context, known, -1) end
local posts = {}
if f.posts > 0 then posts = redis.call('LRANGE', K.mailbox, 0, -1) end
return {'claimed', now, f.fence, redis.call('HGETALL', K.record), posts, redis.call('HGETALL', K.intents), tail, length, f.since}
