--! keys: record journal context mailbox intents due leases by sent dead deadinfo stats outbox
--! uses: clock journal whole
-- commit: the one atomic write that ends a step, or goes on with the next under the same lease.
-- It may bring a second step with it: the settling of the session that the first one has brought to its end.
--
-- A step that goes on and changes nothing but the record is committed by `advance`, under the same rules.
-- Refused with "stale" unless the fence is the newest and the revision the one that was read.
-- Replay: the same commit again (a lost reply) finds `last` = fence:rev and is answered as it was.
-- Everything is checked before the first write: a Lua error would not be rolled back.
--
--   record   hash    patched, attempts 0, rev + 1 for   context  list    messages appended
--                    each entry                         mailbox  list    posts taken from its head
--   journal  stream  entries appended, one a step
--   intents  hash    set and cleared                    leases, due, by, sent   as the directive says
--
-- Directives: continue (keep the lease) · ready · waiting (until `due`) · finalizing · ended · dead.
-- With `keep` for the sent-until, a holder that settles the session itself keeps its lease while it is finalizing.
-- With `settles` for it, an `ended` comes from where finalizing may; answered `unsettled`, with nothing written, where a post
-- or a cancel has come that the holder does not know: the settling may have to say so.
-- ARGV: sid, fence, rev, directive, due ms or -1, sent-until ms or 0 or keep or settles, status, reason (of a wait: approval, input or
--       uncertain where it asks a person), limits of journal entries and context messages, counts (fields, entries, messages, posts taken, intents set,
--       intents cleared, counters), then the values in that order. The caller has checked the values' sizes.
--       Counters are names and by how much each grows: what the holder has done since it last told.
local sid, fence, rev, directive = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local v = redis.call('HMGET', K.record, 'phase', 'fence', 'rev', 'last', 'seq', 'posts', 'cancel', 'attempts',
  'app', 'rank', 'since', 'spec', 'status')
local before, posts, cancel = v[1], tonumber(v[6] or '0'), v[7] or ''
if not before then return {'missing'} end
local mark = fence .. ':' .. rev
if v[4] == mark then return {'committed', before, cancel, posts, 'replay'} end
if v[2] ~= fence or v[3] ~= rev then return {'stale', v[2], v[3]} end

local phase, from = directive, before
if directive == 'continue' then phase = before end
local keep, settles = directive == 'finalizing' and ARGV[6] == 'keep', directive == 'ended' and ARGV[6] == 'settles'
if settles and is_allowed(before, 'finalizing') then from = 'finalizing' end
if not is_allowed(from, phase) then return {'refused', before, phase} end

-- What only a change of phase needs is read below, where it would be too late to refuse it.
if not (v[9] and v[10] and tonumber(v[11]) and v[12] and v[13]) then error('the record is not complete') end
local entries_limit, context_limit = tonumber(ARGV[9]), tonumber(ARGV[10])
local fields, entries, messages = whole(ARGV[11]), whole(ARGV[12]), whole(ARGV[13])
local taken, intents, cleared, counters = whole(ARGV[14]), whole(ARGV[15]), whole(ARGV[16]), whole(ARGV[17])
if not (fields and entries and messages and taken and intents and cleared and counters) then return {'malformed', 11} end
if not (ARGV[5] == '-1' or whole(ARGV[5])) or not (keep or settles or whole(ARGV[6])) then return {'malformed', 5} end
local at_fields = 18
local at_entries = at_fields + 2 * fields
local at_messages = at_entries + entries
local at_intents = at_messages + messages
local at_cleared = at_intents + 2 * intents
local at_counters = at_cleared + cleared
if #ARGV ~= at_counters + 2 * counters - 1 then return {'malformed', #ARGV} end
for i = at_counters, #ARGV, 2 do
  if not whole(ARGV[i + 1]) then return {'malformed', i} end
end
if taken > posts or entries < 1 then return {'malformed', taken} end
if settles and (posts > taken or cancel ~= '') then return {'unsettled'} end
if messages > 0 then
  local length = redis.call('LLEN', K.context) + messages
  if length > context_limit then return {'large', 'context messages', length, context_limit} end
end
local seq = tonumber(v[5])
if seq + entries > entries_limit and phase ~= 'dead' and phase ~= 'ended' then
  return {'large', 'journal', seq + entries, entries_limit}
end

local now = now_ms()
for i = at_entries, at_messages - 1 do
  seq = seq + 1
  append_entry(K.journal, seq, now, ARGV[i])
end
for i = at_messages, at_intents - 1 do redis.call('RPUSH', K.context, ARGV[i]) end
for i = at_intents, at_cleared - 1, 2 do redis.call('HSET', K.intents, ARGV[i], ARGV[i + 1]) end
for i = at_cleared, at_counters - 1 do redis.call('HDEL', K.intents, ARGV[i]) end
if taken > 0 then
  redis.call('LTRIM', K.mailbox, taken, -1)
  posts = posts - taken
  redis.call('HSET', K.record, 'posts', posts)
end

for i = at_counters, #ARGV, 2 do redis.call('HINCRBY', K.stats, ARGV[i], ARGV[i + 1]) end
if directive == 'continue' then
  redis.call('HSET', K.record, 'rev', rev + entries, 'last', mark, 'seq', seq, 'attempts', '0', 'updated', now,
    unpack(ARGV, at_fields, at_entries - 1))
  return {'committed', phase, cancel, posts, now}
end

--! then uses: front index bury outbox
local ASKS = {approval = 'approval', input = 'input', uncertain = 'uncertain'}
-- A post that came while the step ran must not wait for the deadline: the session stays ready.
if phase == 'waiting' and posts > 0 then phase = 'ready' end
local app, rank, since, status = v[9], v[10], tonumber(v[11]), phase == 'ended' and ARGV[7] or v[13]
redis.call('HSET', K.record, 'phase', phase, 'status', status, 'since', now, 'rev', rev + entries, 'last', mark,
  'seq', seq, 'attempts', '0', 'updated', now, unpack(ARGV, at_fields, at_entries - 1))
for i = at_fields, at_entries - 1, 2 do
  if ARGV[i] == 'rank' then rank = ARGV[i + 1] end
end
if phase == 'ready' and cancel ~= '' then
  rank = front(rank)
  redis.call('HSET', K.record, 'rank', rank)
end
if not keep then redis.call('ZREM', K.leases, sid) end
if before == 'waiting' then redis.call('ZREM', K.due, sid) end  -- its holder of before has changed its mind: nobody came since
local stood = {phase = before, status = v[13], since = since}
if phase == 'dead' then
  stood.app, stood.rank, stood.fence, stood.seq = app, rank, fence, seq
  stood.attempts = math.max(tonumber(v[8]), 1)  -- the attempt that failed counts, too
  bury(sid, stood, now, ARGV[8], ARGV[7])
  tell_outbox(sid, app, phase, seq + 1, now)
  return {'committed', phase, '', posts, now}
end
reindex(K.by, sid, app, rank, stood, {phase = phase, status = status, asks = phase == 'waiting' and ASKS[ARGV[8]] or nil}, now)
if phase == 'waiting' or phase == 'ended' then tell_outbox(sid, app, phase, seq, now) end
if phase == 'waiting' then
  if ARGV[5] ~= '-1' then redis.call('ZADD', K.due, ARGV[5], sid) end
elseif phase == 'ended' then
  redis.call('HINCRBY', K.stats, 'ended:' .. app .. ':' .. status, 1)
elseif ARGV[6] ~= '0' and not keep then
  redis.call('ZADD', K.sent, now + tonumber(ARGV[6]), sid)
end
return {'committed', phase, cancel, posts, now}
